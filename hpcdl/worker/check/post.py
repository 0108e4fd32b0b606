"""Where a rank of a check stands, what it has in its hands, and what it says of one look."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from hpcdl.metering import complete_uuid
from hpcdl.records import Finding
from hpcdl.worker.beacon import Beacon
from hpcdl.worker.engine.single import Single
from hpcdl.worker.joining import Rank
from hpcdl.worker.processor import cpu_name
from hpcdl.worker.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.plan import Launch, NodeCheck, Training
    from hpcdl.records import Conditions, Reading
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.check.health import Watching
    from hpcdl.worker.place import Place
    from hpcdl.worker.reporter import Message


class Pulse(Beacon):
    """The beacon of a check: it moves with whatever is done, and names the check that is under way."""

    def __init__(self, beacon: Beacon) -> None:
        super().__init__(beacon.descriptor)
        self._beats = 0
        self._phase = "start"

    def enter(self, phase: str) -> None:
        """A check begins."""
        self._phase = phase
        self.beat()

    def beat(self) -> None:
        """Something was done."""
        self._beats += 1
        super().show(self._beats, self._phase)

    def show(self, step: int, phase: str) -> None:  # noqa: ARG002 (a training's phases are not this launch's)
        self.beat()


class Silence(Reporter):
    """Hears what a training says of its steps, and passes nothing on."""

    def __init__(self) -> None:
        super().__init__(-1)

    def say(self, message: Message) -> None:
        pass


@dataclass(frozen=True)
class Seen:
    """What one look gave. `device` None: that of the rank, or none where the look is the node's.

    Without `begin_s` and `end_s`, s of the host's monotonic clock, the whole turn counts.
    """

    numbers: Mapping[str, Reading] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    device: str | None = None
    model: str = ""
    conditions: Conditions | None = None
    begin_s: float | None = None
    end_s: float | None = None


@dataclass
class Post:
    """One rank of a check. `refusal` is why it has not the device that was planned; empty: it has.

    `conditions` are those of its training so far, and `watching` watches the hardware meanwhile.
    """

    launch: Launch
    check: NodeCheck
    place: Place
    folder: LaunchFolder
    chosen: torch.device | None
    reporter: Reporter
    pulse: Pulse
    refusal: str = ""
    conditions: list[Conditions] = field(default_factory=list)
    watching: Watching | None = None

    @property
    def device(self) -> torch.device:
        """What it computes on; the processor where the planned device is not there, for what needs none."""
        return self.chosen or torch.device("cpu")

    @cached_property
    def device_id(self) -> str:
        """A GPU's UUID, or 'cpu'."""
        if self.device.type != "cuda":
            return "cpu"
        return complete_uuid(str(torch.cuda.get_device_properties(self.device).uuid))

    @cached_property
    def device_model(self) -> str:
        """By which like is compared with like."""
        if self.device.type != "cuda":
            return cpu_name()
        return str(torch.cuda.get_device_properties(self.device).name)

    def stand_alone(self, training: Training) -> Rank:
        """The rank as the only one of a world: what it draws and computes is the same wherever it stands."""
        return Rank(
            launch=self.launch.model_copy(update={"train": training}),
            place=replace(self.place, rank=0, world_size=1),
            folder=self.folder,
            device=self.device,
            engine=Single(),
            reporter=Silence(),
            beacon=self.pulse,
            world=Finding(check="world size", outcome="held", detail="alone"),
        )
