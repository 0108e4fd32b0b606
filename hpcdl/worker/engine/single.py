"""One rank alone: nothing to exchange."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from hpcdl.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    import torch

    from hpcdl.plan import Launch
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.place import Place


class Single:
    name = "single"
    transport = "none"
    rank = 0
    world_size = 1

    def attach(self, model: torch.nn.Module) -> torch.nn.Module:
        return model

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def hold(self, parallel: torch.nn.Module) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def synchronize(self) -> None:
        pass

    def exchange(self, tensors: Sequence[torch.Tensor]) -> None:
        pass

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        pass

    def gather(self, text: str) -> list[str]:
        return [text]

    def sum(self, values: list[float]) -> list[float]:
        return list(values)

    def barrier(self) -> None:
        pass

    def close(self) -> None:
        pass


def start(launch: Launch, place: Place, folder: LaunchFolder, device: torch.device) -> Single:  # noqa: ARG001
    """Raises Refused where there is more than one rank."""
    if place.world_size != 1:
        raise Refused(f"engine 'single' was started on {place.world_size} ranks.", do="Use horovod or ddp.")
    return Single()
