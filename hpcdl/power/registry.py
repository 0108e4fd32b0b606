"""All kinds of sensors, and the opening of those that this host has.

A new sensor is a module with its `open_<name>` and one word in SENSORS.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from hpcdl.errors import UnknownName
from hpcdl.metering import Unavailable
from hpcdl.power.sensor import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcdl.power.sensor import Sensor

ESTIMATE = "estimate"


def _open(name: str) -> Opened:
    """Imports it only now: a host has few of them."""
    opened: Opened = getattr(import_module(f"hpcdl.power.{name}"), f"open_{name}")()
    return opened


SENSORS: Mapping[str, Callable[[], Opened]] = {
    name: partial(_open, name) for name in ("nvml", "rapl", "hwmon", "cray", "ipmi")
}


def open_sensors(
    names: Sequence[str] = (), *, cpu_tdp_w: float | None = None, cpu_idle_w: float | None = None
) -> tuple[list[Sensor], list[Unavailable]]:
    """The sensors that could be opened, and what could not, with the reasons.

    What none of them covers is estimated at the end.

    Args:
        names: These kinds only; empty for all, and the estimate. 'estimate' is a name like the others.
        cpu_tdp_w: For the estimate: the thermal design power of one CPU package, instead of what the table says.
        cpu_idle_w: For the estimate: what a package draws when idle.

    Raises:
        UnknownName: There is no such sensor; the nearest is suggested.
    """
    for name in names:
        if name != ESTIMATE and name not in SENSORS:
            raise UnknownName("sensor", name, (*SENSORS, ESTIMATE))
    opened = [_try(name, opener) for name, opener in SENSORS.items() if not names or name in names]
    if not names or ESTIMATE in names:
        estimate = partial(_open_estimate, _sensors(opened), cpu_tdp_w, cpu_idle_w)
        opened.append(_try(ESTIMATE, estimate))
    return _sensors(opened), [lack for one in opened for lack in one.unavailable]


def _sensors(opened: Sequence[Opened]) -> list[Sensor]:
    return [one.sensor for one in opened if one.sensor is not None]


def _try(name: str, opener: Callable[[], Opened]) -> Opened:
    """A sensor that breaks while it is opened must not cost us the others."""
    try:
        return opener()
    except Exception as problem:  # noqa: BLE001 (whatever a driver or a file made of it)
        reason = f"{type(problem).__name__}: {problem}"
        return Opened(None, (Unavailable(sensor=name, reason=reason, do="a bug: please report it"),))


def _open_estimate(sensors: Sequence[Sensor], cpu_tdp_w: float | None, cpu_idle_w: float | None) -> Opened:
    from hpcdl.power.estimate import open_estimate

    sources = [source for sensor in sensors for source in sensor.sources]
    return open_estimate(
        covered=frozenset(source.covers for source in sources),
        cpu_tdp_w=cpu_tdp_w,
        cpu_idle_w=cpu_idle_w,
        # A GPU that tells neither energy nor power is only named by its sensor.
        gpus=[
            (source.uuid, source.product)
            for source in sources
            if source.covers == "gpu" and source.uuid and not source.counter and source.power is None
        ],
    )
