"""Flags as a table: each names the setting that it overrides. Commands take whole groups of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable  # noqa: TC003 (Typer reads the annotations)
from dataclasses import dataclass
from typing import Annotated, Any, Optional

import typer

from hpcdl.cli import completing
from hpcdl.errors import Mistake


@dataclass(frozen=True)
class Flag:
    """A flag and the setting behind it. `read` turns what was typed into its value; `propose` completes it."""

    name: str
    key: str
    help: str
    kind: type = str
    read: Callable[[str, str], Any] | None = None
    metavar: str | None = None
    propose: Callable[[str], list[str]] | None = None

    @property
    def parameter(self) -> str:
        return self.name.removeprefix("--").split("/")[0].replace("-", "_") + "_flag"

    @property
    def spoken(self) -> str:
        """As a person would name it: `--augment` of `--augment/--no-augment`."""
        return self.name.split("/")[0]


def read_counts(text: str, flag: str) -> tuple[int, ...]:
    """`1,2,4` as numbers.

    Raises:
        Mistake: Not whole numbers above zero.
    """
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise Mistake(
            f"{flag} {text}: whole numbers above zero are needed.", do=f"Write {flag} 4, or {flag} 1,2,4."
        )
    return counts


def read_names(text: str, flag: str) -> tuple[str, ...]:  # noqa: ARG001 (the setting knows the names)
    """`nvml,rapl` as names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


TRAINING = (
    Flag("--model", "train.model", "Network; `hpcdl models` lists them.", propose=completing.networks),
    Flag("--batch", "train.batch", "Images per rank and step (weak scaling).", int),
    Flag("--global-batch", "train.global_batch", "Images per step over all ranks (strong scaling).", int),
    Flag("--steps", "train.steps", "Steps to measure.", int),
    Flag("--epochs", "train.epochs", "Passes over the data instead of steps.", int),
    Flag("--warmup", "train.warmup", "Steps before the measurement begins.", int),
    Flag("--precision", "train.precision", "Go on until the interval is this narrow.", metavar="1%"),
    Flag("--max-steps", "train.max_steps", "Where --precision gives up.", int),
    Flag("--min-window", "train.min_window_s", "Measure at least this long.", metavar="60s"),
    Flag(
        "--engine", "train.engine", "auto, horovod, ddp, single; several by commas.", metavar="NAME[,NAME…]"
    ),
    Flag("--transport", "train.transport", "What carries them: auto, nccl, mpi, gloo."),
    Flag("--data", "train.data", "synthetic, digits, or the folder of a data set.", metavar="NAME|DIR"),
    Flag("--device", "train.device", "auto, cpu, gpu."),
    Flag("--dtype", "train.dtype", "fp32, tf32 or fp16 (on GPUs), bf16."),
    Flag("--layout", "train.layout", "auto, nchw, nhwc."),
    Flag("--learning-rate", "train.learning_rate", "Base rate instead of the network's own.", float),
    Flag("--fusion-mb", "train.fusion_mb", "Fusion buffer (Horovod) or bucket (DDP).", int, metavar="MB"),
    Flag("--threads", "train.threads", "Compute threads per rank.", int),
    Flag("--compile", "train.compile", "Compile the network (torch.compile).", bool),
    Flag("--cuda-graphs", "train.cuda_graphs", "Capture the step as CUDA graphs.", bool),
    Flag("--compression", "train.compression", "Of gradients on their way: none, fp16."),
    Flag("--accumulate", "train.accumulate", "Micro-batches before one exchange.", int, metavar="N"),
    Flag("--fused/--no-fused", "train.fused", "One kernel for all updates.", bool),
    Flag("--data-threads", "train.data_threads", "DALI's threads per rank.", int, metavar="N"),
    Flag("--prefetch", "train.prefetch", "Batches that DALI has ready.", int, metavar="N"),
    Flag("--seed", "train.seed", "Seed of weights, order and augmentation.", int),
    Flag("--augment/--no-augment", "train.augment", "Random crops and mirroring.", bool),
    Flag("--dropout/--no-dropout", "train.dropout", "Dropout, where the network has it.", bool),
    Flag("--validate/--no-validate", "train.validate_after", "Accuracy on held-out images.", bool),
    Flag("--verify/--no-verify", "train.verify_data", "Decode every image before training.", bool),
    Flag("--repeat", "launches.repeat", "Times over, each in fresh processes.", int),
    Flag("--bracket/--no-bracket", "launches.bracket", "Measure the base of a sweep at its end too.", bool),
    Flag("--attribution", "launches.attribution", "Launches that tell where the time goes.", bool),
    Flag("--power/--no-power", "power.sample", "Sample power while training.", bool),
    Flag("--power-period", "power.period_s", "Time between two looks at the meters.", metavar="100ms"),
    Flag("--sensors", "power.sensors", "These meters only.", read=read_names, metavar="NAME[,NAME…]"),
    Flag("--probe", "launches.probe", "Measure communication: auto, also, only, never.", metavar="WHEN"),
    Flag(
        "--progress-timeout",
        "launches.progress_timeout_s",
        "Seconds without progress after which a rank counts as hung.",
        float,
    ),
)
NODES = (
    Flag(
        "--nodes", "launches.nodes", "Nodes; a list is one launch each.", read=read_counts, metavar="N[,N…]"
    ),
    Flag("--tasks-per-node", "launches.tasks_per_node", "Ranks on each node.", int),
    Flag("--per", "launches.per", "The base of a sweep: one node, or one gpu.", metavar="node|gpu"),
)
RANKS = (
    Flag(
        "--ranks",
        "launches.nodes",
        "Ranks here; a list is one launch each.",
        read=read_counts,
        metavar="N[,N…]",
    ),
)
SLURM = (
    Flag("--time", "slurm.walltime", "Walltime, as sbatch reads it; without it, estimated."),
    Flag("--partition", "slurm.partition", "Partition."),
    Flag("--account", "slurm.account", "Account."),
    Flag("--qos", "slurm.qos", "Quality of service."),
    Flag("--constraint", "slurm.constraint", "Node features."),
    Flag("--nodelist", "slurm.nodelist", "These nodes."),
    Flag("--exclude", "slurm.exclude", "Not these nodes."),
    Flag("--dependency", "slurm.dependency", "After another job, as sbatch reads it."),
    Flag("--reservation", "slurm.reservation", "Reservation."),
    Flag("--memory", "slurm.memory", "Memory per node, as sbatch reads it."),
    Flag("--exclusive/--shared", "slurm.exclusive", "Whole nodes.", bool),
    Flag("--signal", "slurm.signal", "Warning before the walltime, as sbatch reads it."),
    Flag("--pmi", "slurm.pmi", "srun --mpi=…; without it, what the engine needs."),
    Flag("--template", "slurm.template", "A batch-script template of your own.", metavar="FILE"),
    Flag("--cores", "node.cores", "Cores of a node.", int),
    Flag("--gpus", "node.gpus", "GPUs of a node.", int),
    Flag("--network", "node.network", "Network interface between the nodes."),
)


Said = dict[str, tuple[Any, str]]  # setting -> (value or None, the flag as typed)


def accept(*groups: tuple[Flag, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command all flags of these groups; it receives them as one mapping, `said`."""
    flags = [flag for group in groups for flag in group]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True).parameters
        kept = [parameter for name, parameter in own.items() if name != "said"]
        extra = [_parameter(flag) for flag in flags]

        @functools.wraps(function)
        def command(**given: Any) -> None:
            said = {flag.key: (_read(flag, given.pop(flag.parameter)), flag.spoken) for flag in flags}
            function(**given, said=said)

        # Typer reads names, types and help from here.
        command.__signature__ = inspect.Signature([*kept, *extra])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [*kept, *extra]}
        del command.__wrapped__
        return command

    return decorate


def _parameter(flag: Flag) -> inspect.Parameter:
    option = typer.Option(
        flag.name, help=flag.help, show_default=False, metavar=flag.metavar, autocompletion=flag.propose
    )
    return inspect.Parameter(
        flag.parameter,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[flag.kind], option],  # noqa: UP045 (built at run time)
    )


def _read(flag: Flag, typed: Any) -> Any:
    return flag.read(typed, flag.spoken) if flag.read and typed is not None else typed
