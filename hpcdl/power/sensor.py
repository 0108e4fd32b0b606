"""What a sensor is: something that has sources and can be looked at. Each kind of sensor is a module of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.metering import Source, Unavailable

# Where /sys and /proc are looked for: another root in tests, or inside a container that mounts the host's.
ROOT_VARIABLE = "HPCDL_SENSOR_ROOT"

# One look at one source, as plain JSON with the keys of `hpcdl.metering.Look`: a float, a list of words, or
# {"missing": why}. Plain, because ten times a second for eight devices has to cost next to nothing.
Looked = dict[str, Any]


def sensor_root() -> Path:
    """The folder that stands for /."""
    return Path(os.environ.get(ROOT_VARIABLE, "/"))


def missing(reason: str) -> dict[str, str]:
    """A value that could not be read, as it stands in a look."""
    return {"missing": reason}


class Sensor(Protocol):
    """Sources of one kind on this host, opened and ready to be looked at."""

    sources: tuple[Source, ...]

    def look(self, *, closely: bool) -> Mapping[str, Looked]:
        """One look at each source, by its name.

        Never raises for what a sensor may do: a source that cannot be read any more is {"missing": why}. Energies
        are in joules, unwrapped, and only their differences mean anything.

        Args:
            closely: Also what changes slowly and costs time: clocks, temperature, utilisation, memory.
        """

    def close(self) -> None:
        """Let go of handles and processes."""


@dataclass(frozen=True)
class Opened:
    """What a kind of sensor has here: a sensor, or None; and what of it could not be had, with what would open it."""

    sensor: Sensor | None
    unavailable: tuple[Unavailable, ...] = ()
