"""Which settings are tried, in which order. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hpcdl.plan import Launch

Value = bool | int | str


class Candidate(NamedTuple):
    """One change of one setting. `numerics`: what the network learns is no longer the same to the last digits."""

    key: str
    value: Value
    numerics: bool = False

    @property
    def text(self) -> str:
        """As a benchmark file has it."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{self.key} = {value}"


def list_candidates(launch: Launch, *, lower_precision: bool) -> tuple[Candidate, ...]:
    """What may be worth trying for such a launch; what is likely to be worth most comes first.

    Args:
        launch: As it would run without any tuning.
        lower_precision: Whether bits may be given up, which is another question to the hardware.
    """
    train, gpu = launch.train, launch.gpus_per_node > 0 and launch.train.device != "cpu"
    found = [Candidate("layout", "nchw"), Candidate("layout", "nhwc")]
    if lower_precision:
        kinds = ("tf32", "bf16", "fp16") if gpu else ("bf16",)
        found += [Candidate("dtype", kind, numerics=True) for kind in kinds if kind != train.dtype]
    found.append(Candidate("compile", value=True))
    if gpu:
        found.append(Candidate("cuda_graphs", value=True))
    else:
        found += [Candidate("threads", count) for count in _fewer(train.threads)]
    if train.data != "synthetic":
        cores = launch.cpus_per_task // launch.threads_per_core
        found += [Candidate("data_threads", count) for count in _powers(cores)]
        found.append(Candidate("prefetch", 4))
    if launch.world_size > 1:
        found += [Candidate("fusion_mb", size) for size in (16, 128) if size != train.fusion_mb]
        if lower_precision:
            found.append(Candidate("compression", "fp16", numerics=True))
    found.append(Candidate("fused", value=False))
    return tuple(found)


def _fewer(threads: int) -> list[int]:
    """Half of them: a core that waits for memory does not wait faster with its neighbour."""
    return [threads // 2] if threads > 1 else []


def _powers(cores: int) -> list[int]:
    return [count for count in (1, 2, 4, 8, 16, 32) if count <= cores]
