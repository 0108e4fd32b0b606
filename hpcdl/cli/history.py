"""`hpcdl history`: one benchmark over weeks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import completing
from hpcdl.cli.delivery import FormOption, OutOption, OutputOption, deliver, plan_delivery
from hpcdl.cli.look import Executors, JsonOption, StoresOption, open_stores

if TYPE_CHECKING:
    from hpcdl.analysis.points import Metric


def history(
    benchmark: Annotated[
        str,
        typer.Argument(
            help="A benchmark's name or id, or a run of it.", autocompletion=completing.benchmarks
        ),
    ],
    *,
    metric: Annotated[
        str, typer.Option("--metric", help="images/s, images/J or W.", metavar="NAME")
    ] = "images/s",
    since: Annotated[
        str | None, typer.Option("--since", help="A day, or so long ago.", metavar="2026-11-01|30d|12w")
    ] = None,
    form: FormOption = None,
    out: OutOption = None,
    output: OutputOption = None,
    store: StoresOption = None,
    as_json: JsonOption = False,
) -> None:
    """The same benchmark over weeks: where it became faster or slower, and what changed then."""
    from hpcdl.analysis.catalogue import read_stores
    from hpcdl.analysis.history import choose_benchmark, trace_history
    from hpcdl.report.histories import describe_history

    delivery = plan_delivery(form, out, output, as_json=as_json)
    wanted, begin = _read_metric(metric), _read_since(since)
    stores = open_stores(store)
    executors = Executors()
    catalogue = read_stores(stores, ask=executors)
    chosen = choose_benchmark(catalogue, benchmark, stores)
    found = trace_history(catalogue, chosen, metric=wanted, since=begin)
    deliver(describe_history(found), delivery)
    executors.tell()


def _read_metric(text: str) -> Metric:
    from typing import get_args

    from hpcdl.analysis.points import Metric
    from hpcdl.errors import UnknownName

    known: dict[str, Metric] = {name: name for name in get_args(Metric)}
    if text not in known:
        raise UnknownName("metric", text, known, where="--metric")
    return known[text]


def _read_since(text: str | None) -> str:
    """As ISO 8601 in UTC; empty: ever since.

    Raises:
        Mistake: It is neither a day nor a length of time.
    """
    import re
    from datetime import UTC, datetime, timedelta

    from hpcdl.errors import Mistake

    ago = re.fullmatch(r"(\d{1,5})([dw])", text or "")
    try:
        if text is None:
            return ""
        if ago:
            length = timedelta(days=int(ago[1]) * (7 if ago[2] == "w" else 1))
            return (datetime.now(UTC) - length).strftime("%Y-%m-%dT%H:%M:%SZ")
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        raise Mistake(
            f"--since {text}: a day or a length of time is needed.",
            do="Write --since 2026-11-01, or --since 30d.",
        ) from None
