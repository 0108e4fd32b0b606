"""An audit of a CPU that is held against a GPU: did it do what it can? Held, failed, or could not look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl import networks
from hpcdl.analysis.arithmetic import measure_arithmetic
from hpcdl.analysis.counted import NOT_RECORDED, count_hardware, gather_views
from hpcdl.plan import SMALL_NETWORK_FLOPS
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpcdl.analysis.configurations import Configuration
    from hpcdl.analysis.gate import Outcome
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.records import Host

# Of the CPU's own matrix product. hpcdl's AlexNet reached 0.79 of it and its OverFeat 0.98 on two cores
# (reports/bench-2026-11-22.md): less than half is not what these networks leave on the table.
FAIR_ARITHMETIC = 0.5
# Of the step: a CPU that waits for images is not what is compared.
FAIR_INPUT_WAIT = 0.1
WORSE: tuple[Outcome, ...] = ("held", "could not look", "failed")


@dataclass(frozen=True)
class Answer:
    """One question of the audit and its answer."""

    question: str
    outcome: Outcome
    detail: str


def audit(cpu: Configuration, gpu: Configuration) -> tuple[Answer, ...]:
    """All questions to the CPU side: to each of its launches that has a throughput, and the worst answer counts."""
    launches, other = choose_measured(cpu), choose_measured(gpu)[0]
    answers = (_choose_worst([ask(launch) for launch in launches]) for ask in _QUESTIONS)
    return (*answers, _compare_types(launches[0], other), _compare_batches(launches[0], other))


def choose_measured(side: Configuration) -> tuple[LaunchResult, ...]:
    """The launches that have a throughput; the first, where none of them has."""
    return tuple(launch for launch in side.launches if launch.interval is not None) or side.launches[:1]


def _choose_worst(answers: Sequence[Answer]) -> Answer:
    return max(answers, key=lambda answer: WORSE.index(answer.outcome))


def summarise(answers: tuple[Answer, ...]) -> str:
    """'8 held, 1 failed, 2 could not be looked at'."""
    counts = {"held": 0, "failed": 0, "could not look": 0}
    for answer in answers:
        counts[answer.outcome] += 1
    return (
        f"{counts['held']} held, {counts['failed']} failed, {counts['could not look']} could not be looked at"
    )


def _ask_cores(launch: LaunchResult) -> Answer:
    """One computing thread for each core of the machine, no more and no fewer; and all cores are theirs to run on."""
    question = "all cores compute"
    for views in gather_views(launch).values():
        threads, cores = sum(view.threads for view in views), views[0].cores_of_host
        ranks = f"{_name_threads(views)} on {_name_hosts(views)}"
        if cores is None or any(view.cores is None for view in views):
            return Answer(question, "could not look", f"{ranks}; its cores were {NOT_RECORDED}")
        if threads != cores:
            why = "cores stand idle" if threads < cores else "threads wait for each other"
            return Answer(question, "failed", f"{ranks}, which has {cores} cores: {why}")
        allowed = len({core for view in views for core in view.cores or ()})
        if allowed != cores:
            why = f"{ranks} may run on {allowed} of its {cores} cores: the others stand idle"
            return Answer(question, "failed", why)
    return _conclude(question, launch, count_hardware(launch).words)


def _name_threads(views: Sequence[Host]) -> str:
    """'2 x 4 threads'; '4 + 3 threads' where ranks have not all as many."""
    counts = [view.threads for view in views]
    if len(set(counts)) == 1:
        return f"{len(counts)} x {counts[0]} threads"
    return f"{' + '.join(map(str, counts))} threads"


def _name_hosts(views: Sequence[Host]) -> str:
    """'node1'; 'node1 and node2, one machine' where they share a boot id."""
    hosts = list(dict.fromkeys(view.host for view in views))
    if len(hosts) == 1:
        return hosts[0]
    named = f"{hosts[0]} and {hosts[1]}" if len(hosts) == 2 else f"{hosts[0]} and {len(hosts) - 1} more hosts"
    return f"{named}, one machine"


def _ask_affinity(launch: LaunchResult) -> Answer:
    """Ranks of one machine do not share cores."""
    question = "ranks have cores of their own"
    machines = gather_views(launch)
    for views in machines.values():
        taken: set[int] = set()
        for view in views:
            # By core where that is known: two threads of one core are one core.
            own = set(view.affinity if view.cores is None else view.cores)
            if own & taken:
                where = f"rank {view.rank} on {view.host}"
                return Answer(question, "failed", f"{where} shares cores with another rank")
            taken |= own
    ranks = max((len(views) for views in machines.values()), default=0)
    return _conclude(
        question, launch, f"{ranks} rank{'s' * (ranks != 1)} on each host, none overlaps another"
    )


def _ask_sockets(launch: LaunchResult) -> Answer:
    question = "all sockets are used"
    counted = count_hardware(launch)
    used, there = counted.sockets, counted.sockets_there
    if used is None or there is None:
        return Answer(question, "could not look", f"sockets were {NOT_RECORDED}")
    return Answer(question, "held" if used == there else "failed", f"{used} of {there}")


def _ask_library(
    question: str, read: Callable[[LaunchResult], str | None]
) -> Callable[[LaunchResult], Answer]:
    def ask(launch: LaunchResult) -> Answer:
        found = read(launch)
        if found is None:
            return Answer(question, "could not look", NOT_RECORDED)
        return Answer(question, "failed" if found == "none" else "held", found)

    return ask


def _read_onednn(launch: LaunchResult) -> str | None:
    return launch.environment.versions.onednn if launch.environment else None


def _read_blas(launch: LaunchResult) -> str | None:
    return launch.environment.versions.blas if launch.environment else None


def _ask_vectors(launch: LaunchResult) -> Answer:
    """Torch's own loops use what the processor has; oneDNN chooses for itself."""
    question = "vector instructions"
    for views in gather_views(launch).values():
        for view in views:
            if view.vector is None:
                return Answer(question, "could not look", NOT_RECORDED)
            if view.vector_of_cpu is None:
                return Answer(
                    question, "could not look", f"{view.vector}; what the processor has is not known"
                )
            if view.vector != view.vector_of_cpu:
                detail = f"{view.vector} on {view.host}, whose processor has {view.vector_of_cpu}"
                return Answer(question, "failed", detail)
    vectors = sorted({view.vector or "" for views in gather_views(launch).values() for view in views})
    return _conclude(question, launch, ", ".join(vectors))


def _ask_layout(launch: LaunchResult) -> Answer:
    question = "memory layout"
    if launch.plan.train.layout == "auto":
        return _conclude(question, launch, f"{launch.layout}, chosen for this network on a CPU")
    return Answer(
        question, "could not look", f"{launch.layout} was asked for; --layout auto chooses the faster"
    )


def _ask_arithmetic(launch: LaunchResult) -> Answer:
    question = "arithmetic near the CPU's own matrix product"
    share = measure_arithmetic(launch).of_matrix
    if isinstance(share, Missing):
        return Answer(question, "could not look", share.missing)
    told = f"{100 * share:.0f} % of it"
    if networks.find(launch.plan.train.model).train_flops < SMALL_NETWORK_FLOPS:
        return Answer(question, "could not look", f"{told}; a network this small is bound by other things")
    return Answer(question, "held" if share >= FAIR_ARITHMETIC else "failed", told)


def _ask_input(launch: LaunchResult) -> Answer:
    question = "it does not wait for images"
    share = launch.statistics.input_share
    if isinstance(share, Missing):
        return Answer(question, "could not look", share.missing)
    outcome: Outcome = "held" if share <= FAIR_INPUT_WAIT else "failed"
    return Answer(question, outcome, f"input wait is {100 * share:.1f} % of the step")


def _compare_types(cpu: LaunchResult, gpu: LaunchResult) -> Answer:
    question = "one number type on both sides"
    one, other = cpu.plan.train.dtype, gpu.plan.train.dtype
    return Answer(question, "held" if one == other else "failed", one if one == other else f"{one}, {other}")


def _compare_batches(cpu: LaunchResult, gpu: LaunchResult) -> Answer:
    question = "one batch for each rank on both sides"
    one, other = cpu.plan.train.local_batch, gpu.plan.train.local_batch
    detail = f"{one:,} images" if one == other else f"{one:,} images on the CPU, {other:,} on the GPU"
    return Answer(question, "held" if one == other else "failed", detail)


def _conclude(question: str, launch: LaunchResult, detail: str) -> Answer:
    """Held, unless there was nothing to look at."""
    if launch.environment is None:
        return Answer(question, "could not look", "no environment was recorded")
    return Answer(question, "held", detail)


_QUESTIONS: tuple[Callable[[LaunchResult], Answer], ...] = (
    _ask_cores,
    _ask_affinity,
    _ask_sockets,
    _ask_library("oneDNN", _read_onednn),
    _ask_library("BLAS", _read_blas),
    _ask_vectors,
    _ask_layout,
    _ask_arithmetic,
    _ask_input,
)


def list_failed(answers: tuple[Answer, ...]) -> Iterator[Answer]:
    """What speaks against the CPU side as it was measured."""
    return (answer for answer in answers if answer.outcome == "failed")
