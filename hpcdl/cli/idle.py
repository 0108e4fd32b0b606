"""`hpcdl power idle`: what this node draws when nobody works on it, kept with the site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli.asking import read_time, require_sources

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.analysis.command import Metering
    from hpcdl.sampling import Sampling
    from hpcdl.trace import Trace


def idle(
    *,
    seconds: Annotated[str, typer.Option("--seconds", help="For so long.", metavar="30s")] = "30s",
    site: Annotated[str | None, typer.Option("--site", help="Another site file.", metavar="FILE")] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if somebody works here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """What this node draws when nobody works on it: measured, and kept beside the site file for net energies."""
    from pathlib import Path

    from hpcdl import site as sites
    from hpcdl.analysis.meters import SHORTEST_S
    from hpcdl.baseline import path_beside
    from hpcdl.cli import screen
    from hpcdl.report.metered import describe_idle

    length_s = read_time(seconds, "--seconds", SHORTEST_S)
    named = Path(site) if site else None
    sites.load(named)  # one that cannot be used is told now, and not after half a minute
    metering, busy = _measure_idle(length_s, force=force)
    kept = path_beside(named or sites.default_path())
    found = _keep_idle(metering, kept)
    screen.show(describe_idle(metering, kept, busy=busy), as_json=as_json)
    if not found:
        raise typer.Exit(1)


def _measure_idle(length_s: float, *, force: bool) -> tuple[Metering, str | None]:
    """What the meters saw, and who worked meanwhile, where that was not to matter."""
    import time

    from hpcdl import idleness
    from hpcdl.analysis.command import meter
    from hpcdl.cli import screen
    from hpcdl.sampling import Sampling

    with screen.talk.status("looking whether anybody works here") as status:
        busy = _refuse_busy(idleness.find_busy_cpus(idleness.watch()), force=force)
        with Sampling() as sampling:
            require_sources(sampling, measured=True)
            first, before = sampling.gather(), idleness.look()
            busy = busy or _refuse_busy(idleness.find_busy_gpus(sampling.opening, first), force=force)
            begin_s = time.monotonic()
            while (left_s := begin_s + length_s - time.monotonic()) > 0:
                status.update(f"measuring: {left_s:.0f} s left")
                time.sleep(min(1.0, left_s))
            end_s, use = time.monotonic(), idleness.compare(before, idleness.look())
            trace = sampling.finish()
        _require_alive(sampling, trace)
    metering = meter(trace, begin_s, end_s, lengthen="--seconds")
    shares = {one.source.uuid or one.source.name: one.utilisation for one in metering.meters}
    gpus = {name: shares[name] for name in idleness.name_gpus(sampling.opening)}
    later = idleness.find_busy_cpus(use) or idleness.describe_busy_gpus(gpus)
    return metering, busy or _refuse_busy(later, force=force)


def _refuse_busy(busy: str | None, *, force: bool) -> str | None:
    """Who works here.

    Raises:
        Failure: Somebody does, and that matters.
    """
    from hpcdl.errors import Failure

    if busy is None or force:
        return busy
    raise Failure(
        f"this machine is not idle: {busy}.",
        do="Measure when nobody works on it; --force measures and keeps it all the same.",
    )


def _keep_idle(metering: Metering, kept: Path) -> bool:
    """Keep what was measured; whether there was anything. Estimates are no baseline."""
    from datetime import UTC, datetime

    from hpcdl import baseline
    from hpcdl.records import Missing

    measured_w = {
        one.source.name: one.average_w
        for one in metering.meters
        if not one.source.estimated and not isinstance(one.average_w, Missing)
    }
    if measured_w:
        entry = baseline.HostIdle(
            measured_utc=datetime.now(UTC), seconds=metering.elapsed_s, idle_w=measured_w
        )
        baseline.keep(kept, metering.host, entry)
    return bool(measured_w)


def _require_alive(sampling: Sampling, trace: Trace) -> None:
    from hpcdl.errors import Failure

    if trace.closing is None:
        raise Failure(f"{sampling.why_ended()}.", do="Nothing was kept.")
