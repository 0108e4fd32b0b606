"""`hpcdl power`: what can be metered on this node, what it draws now and when idle, and the energy of any command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import idle
from hpcdl.cli.asking import read_time, require_sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcdl.command import Ended
    from hpcdl.report.content import Report
    from hpcdl.report.watching import Watch
    from hpcdl.sampling import Sampling
    from hpcdl.trace import Trace

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
JsonOption = Annotated[bool, typer.Option("--json", help="For other programs.")]
# As a benchmark's period_s may be.
SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 0.01, 10.0


@app.callback()
def power() -> None:
    """Power: what can be metered, now and of any command."""


@app.command()
def sensors(*, as_json: JsonOption = False) -> None:
    """Every source of power or energy on this node, and what would open those that cannot be read."""
    from hpcdl.cli import screen
    from hpcdl.report.sensors import describe_sensors
    from hpcdl.sampling import Sampling

    with screen.talk.status("looking"), Sampling() as sampling:
        sample = next(sampling.follow())
    screen.show(describe_sensors(sampling.opening, sample), as_json=as_json)


@app.command()
def watch(
    *,
    seconds: Annotated[
        str | None, typer.Option("--seconds", help="For so long; without it, until Ctrl-C.", metavar="60s")
    ] = None,
    period: Annotated[
        str, typer.Option("--period", help="Between two looks: 10ms to 10s.", metavar="1s")
    ] = "1s",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each look.")] = False,
) -> None:
    """What this node draws now: power, utilisation, clocks, temperature, and what slows a GPU down."""
    import contextlib

    from hpcdl.sampling import Sampling

    period_s = read_time(period, "--period", SHORTEST_PERIOD_S, LONGEST_PERIOD_S)
    limit_s = None if seconds is None else read_time(seconds, "--seconds", SHORTEST_PERIOD_S)
    # Ctrl-C is how a person ends it, and no failure.
    with contextlib.suppress(KeyboardInterrupt), Sampling(period_s=period_s) as sampling:
        require_sources(sampling)
        _show_looks(sampling, limit_s, as_json=as_json)


def _show_looks(sampling: Sampling, limit_s: float | None, *, as_json: bool) -> None:
    from rich.live import Live
    from rich.text import Text

    from hpcdl.cli import screen
    from hpcdl.report import as_terminal

    if as_json or not screen.results.is_terminal:
        for seen in _look(sampling, limit_s):
            print(seen.write_json() if as_json else seen.write_line(), flush=True)
        return
    with Live(console=screen.results, auto_refresh=False) as live:
        for seen in _look(sampling, limit_s):
            text = as_terminal.write(seen.make_report(), width=screen.results.width)
            live.update(Text(text.rstrip("\n"), no_wrap=True), refresh=True)


def _look(sampling: Sampling, limit_s: float | None) -> Iterator[Watch]:
    """All that was seen so far, at each look, for so long from the first one on."""
    from hpcdl.report.watching import Watch

    seen, begin_s = Watch(sampling.opening), None
    for sample in sampling.follow():
        begin_s = sample.at_s if begin_s is None else begin_s
        seen.take(sample)
        yield seen
        # A look comes a little early or late.
        if limit_s is not None and sample.at_s - begin_s >= limit_s - sampling.opening.period_s / 2:
            return


app.command("idle")(idle.idle)


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    command: Annotated[
        list[str] | None, typer.Argument(help="What to run, after two dashes.", metavar="-- COMMAND…")
    ] = None,
    *,
    period: Annotated[
        str, typer.Option("--period", help="Between two looks: 10ms to 10s.", metavar="100ms")
    ] = "100ms",
    sensors: Annotated[
        str | None, typer.Option("--sensors", help="These meters only.", metavar="NAME[,NAME…]")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="The report as JSON in a file, too.", metavar="FILE")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The report on stderr as JSON; --out keeps it apart.")
    ] = False,
) -> None:
    """Any command on this node, with its energy.

    Its output stays as it is: the report goes to stderr. The exit code is the command's own.
    """
    from hpcdl import command as commands
    from hpcdl.sampling import Sampling

    argv = command or []
    period_s = read_time(period, "--period", SHORTEST_PERIOD_S, LONGEST_PERIOD_S)
    names = _read_sensors(sensors)
    commands.require(argv)
    path = _check_out(out)
    with Sampling(period_s=period_s, sensors=names) as sampling:
        sampling.gather()
        ended = commands.run(argv)
        trace = sampling.finish()
    _tell(_describe(sampling, trace, argv, ended), path, as_json=as_json)
    raise typer.Exit(ended.code)


def _describe(sampling: Sampling, trace: Trace, argv: list[str], ended: Ended) -> Report:
    from hpcdl.analysis.command import meter
    from hpcdl.report.metered import describe_command

    metering = meter(trace, ended.begin_s, ended.end_s, lengthen="let it run for at least")
    died = sampling.why_ended() if trace.closing is None else None
    return describe_command(metering, argv, ended.code, died)


def _tell(report: Report, path: Path | None, *, as_json: bool) -> None:
    import sys

    from hpcdl.cli import screen
    from hpcdl.durable import publish
    from hpcdl.report import as_terminal
    from hpcdl.report.formats import render_text

    if as_json:
        print(render_text(report, "json").rstrip("\n"), file=sys.stderr, flush=True)
    else:
        as_terminal.render(report, screen.talk)
    if path is not None:
        publish(path, render_text(report, "json"))


def _read_sensors(text: str | None) -> tuple[str, ...]:
    """`nvml,rapl` as names.

    Raises:
        UnknownName: There is no such sensor; the nearest is suggested.
    """
    from typing import get_args

    from hpcdl.cli.flags import read_names
    from hpcdl.errors import Mistake, UnknownName
    from hpcdl.spec import SensorName

    if text is None:
        return ()
    names, known = read_names(text, "--sensors"), get_args(SensorName)
    for name in names:
        if name not in known:
            raise UnknownName("sensor", name, known)
    if not names:
        raise Mistake("--sensors names none.", do=f"Known: {', '.join(known)}; without it, all.")
    return names


def _check_out(out: str | None) -> Path | None:
    """Whether there is room for the report, before the command has run for hours."""
    import os
    from pathlib import Path

    from hpcdl.errors import Mistake

    if out is None:
        return None
    path = Path(out)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise Mistake(f"--out {out}: no file can be written there.", do="Name a file in a folder of yours.")
    return path
