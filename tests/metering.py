"""Energy of a real launch beside what was planted, whether its steps were steady or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.analysis.meters import read_meter
from hpcdl.analysis.windows import find_windows
from hpcdl.records import Missing
from tests.nvml.standin import planted_energy_j

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.analysis.windows import HostWindow
    from hpcdl.trace import Trace
    from tests.nvml.standin import Profile


def find_whole_windows(launch: LaunchResult) -> tuple[HostWindow, ...]:
    """All measured steps on the clock of each host."""
    assert launch.environment is not None
    assert launch.steps is not None
    measured = launch.steps.measured.step
    found = find_windows(
        launch.environment,
        launch.conditions,
        launch.steps,
        first=int(measured.min()),
        last=int(measured.max()) + 1,
    )
    assert not isinstance(found, Missing), found
    return found


def add_up(
    launch: LaunchResult, traces: Sequence[Trace], profiles: Mapping[str, Sequence[Profile]]
) -> tuple[float, float]:
    """Joules that the counters of all hosts saw, and those that were planted, over the whole measured window."""
    seen = planted = 0.0
    for window in find_whole_windows(launch):
        spans = window.spans()
        planted += sum(
            planted_energy_j(profile, *span) for profile in profiles[window.host] for span in spans
        )
        trace = next(one for one in traces if one.host == window.host)
        assert trace.closing is not None
        assert len(trace.series) == len(profiles[window.host])
        for series in trace.series:
            metered = read_meter(series, window.host, trace.opening.boot_id, spans, trace.opening.period_s)
            assert metered.by == "counter"
            assert not isinstance(metered.energy, Missing), metered.energy
            seen += metered.energy.value
    return seen, planted
