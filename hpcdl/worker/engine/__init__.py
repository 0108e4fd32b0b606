"""How gradients meet. One small face, three engines; all of them average, and none unpickles anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hpcdl.errors import UnknownName
from hpcdl.worker.engine import ddp, horovod, single

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    import torch

    from hpcdl.plan import Launch
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.place import Place


class Engine(Protocol):
    """Data-parallel averaging among the ranks of one launch."""

    name: str
    transport: str
    rank: int
    world_size: int

    def attach(self, model: torch.nn.Module) -> torch.nn.Module:
        """The module to call in training."""

    def backward(self, loss: torch.Tensor) -> None:
        """Make the gradients of this rank's loss; each starts on its way to the others when it is ready."""

    def hold(self, parallel: torch.nn.Module) -> AbstractContextManager[None]:
        """Within it, gradients of `parallel` are added up here, and none starts on its way."""

    def synchronize(self) -> None:
        """Wait until every gradient of the last backward is the mean over all ranks."""

    def exchange(self, tensors: Sequence[torch.Tensor]) -> None:
        """Sum each of these, (numbers,), over all ranks in place: handed over at once, as gradients are."""

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give all ranks rank 0's values, in place."""

    def gather(self, text: str) -> list[str]:
        """Every rank's text, by rank, on every rank."""

    def sum(self, values: list[float]) -> list[float]:
        """The element-wise sum over all ranks, in double precision."""

    def barrier(self) -> None:
        """Return when all ranks have come here."""

    def close(self) -> None:
        """Leave the others in good order. Only after success: a failing rank leaves without a word."""


ENGINES: dict[str, Callable[[Launch, Place, LaunchFolder, torch.device], Engine]] = {
    "horovod": horovod.start,
    "ddp": ddp.start,
    "single": single.start,
}


def start(launch: Launch, place: Place, folder: LaunchFolder, device: torch.device) -> Engine:
    """The engine that the launch asks for, connected to its peers.

    `auto` is Horovod where it is installed, else DDP; alone, it is 'single'.

    Raises:
        Refused: The engine is not installed, or cannot do what is asked.
    """
    name: str = launch.train.engine
    if name == "auto":
        name = choose(launch.world_size)
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    return ENGINES[name](launch, place, folder, device)


def choose(world_size: int) -> str:
    """What `auto` means here."""
    if world_size == 1:
        return "single"
    return "horovod" if horovod.is_installed() else "ddp"
