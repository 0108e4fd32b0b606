"""Made runs from which estimates are made: GPU nodes with meters and prices. All prices are invented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.tariffs import NAMES, Tariff
from hpcdl.prices import Cost
from tests.unit.records_maker import Recording, record, write_run, write_trace
from tests.unit.test_report import make_board, plant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcdl.analysis.job import RunResult

COST = {
    "currency": "EUR",
    "electricity_per_kwh": {"value": 0.25, "date": "2026-01", "source": "invented"},
    "node_price": 20_000,
    "lifetime_years": 5,
    "utilisation": 0.8,
    "nodes_per_rack": 4,
}


def measure(
    store: Path,
    run_id: str,
    rates: dict[int, float],
    *,
    watts: float | None = None,
    site: dict[str, Any] | None = None,
    recording: dict[str, Any] | None = None,
    **run: Any,
) -> RunResult:
    """A run on these numbers of nodes with these images/s; each node holds two boards of `watts`, where it is given."""
    where = {"name": "juno", "node": {"gpus": 2, "cores": 8}} | (site or {})
    folder = write_run(store, nodes=tuple(rates), run_id=run_id, power=watts is not None, site=where, **run)
    for index, (nodes, rate) in enumerate(rates.items(), start=1):
        hosts = [f"node{place + 1}" for place in range(nodes)]
        clocks = {} if watts is None else {"clocks_s": dict.fromkeys(hosts, 0.0)}
        launch = record(folder, index, Recording(images_per_s=rate, **clocks, **(recording or {})))
        for host in hosts if watts is not None else ():
            boards = {make_board(host, place): plant(watts, 0) for place in range(2)}
            write_trace(launch, host, boards, begin_s=95.0, end_s=145.0)
    return analyse_run(folder)


def price(
    cost: dict[str, Any] | None = None, *, origin: str = "site.toml", without: Sequence[str] = ()
) -> Tariff:
    """The prices of COST, some of them changed or left out."""
    kept = {key: value for key, value in (COST | (cost or {})).items() if key not in without}
    given = Cost.model_validate(kept)
    figures = {name: getattr(given, name) for name in (*NAMES, "nodes_per_rack")}
    return Tariff(currency=given.currency, **figures, origin=origin, pue_origin=origin)
