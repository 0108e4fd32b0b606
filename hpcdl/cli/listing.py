"""`hpcdl list`: the runs of one store or several, the newest of them or those that a query selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import completing
from hpcdl.cli.look import Executors, JsonOption, StoresOption, find_folders, open_stores

if TYPE_CHECKING:
    from hpcdl.analysis.catalogue import Catalogue
    from hpcdl.analysis.index import Ask
    from hpcdl.report.content import Report
    from hpcdl.stores import Stores

NEWEST = 20

WhereOption = Annotated[
    str | None, typer.Option("--where", help="A query: \"model='alexnet' and nodes>1\".", metavar="QUERY")
]


def list_runs(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these: ids, tags, names of benchmarks.", metavar="RUNS", autocompletion=completing.runs
        ),
    ] = None,
    *,
    where: WhereOption = None,
    count: Annotated[int, typer.Option("--last", "-n", min=1, help="Only the newest so many.")] = NEWEST,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    launches: Annotated[bool, typer.Option("--launches", help="A row for each launch, with energy.")] = False,
    anew: Annotated[bool, typer.Option("--anew", help="Read all records, trust no index.")] = False,
    store: StoresOption = None,
    form: Annotated[str, typer.Option("--format", help="terminal, markdown or json.")] = "terminal",
    as_json: JsonOption = False,
) -> None:
    """The runs of the store, newest last."""
    from hpcdl.analysis.query import check_query
    from hpcdl.cli import screen

    if where is not None:
        check_query(where)
    executors = Executors()
    last = None if every else count
    stores = open_stores(store)
    # Where nothing is chosen from, the others need not be read.
    catalogue = _read(stores, runs, None if where or launches else last, executors, anew=anew)
    screen.show(_describe(catalogue, where, last, launches=launches), form, as_json=as_json)
    if catalogue.unsaved:
        screen.talk.print(
            f"the index could not be kept, so that the next list takes as long: {catalogue.unsaved}"
        )
    executors.tell()


def _read(stores: Stores, runs: list[str] | None, last: int | None, ask: Ask, *, anew: bool) -> Catalogue:
    from hpcdl.analysis.catalogue import read_folders, read_stores

    if runs:
        return read_folders(find_folders(stores, runs), ask=ask, anew=anew)
    return read_stores(stores, last=last, ask=ask, anew=anew)


def _describe(catalogue: Catalogue, where: str | None, last: int | None, *, launches: bool) -> Report:
    from hpcdl.analysis.catalogue import find_launches, find_runs
    from hpcdl.report import listing

    if launches:
        places = find_launches(catalogue, where) if where else list(range(sum(catalogue.counts)))
        return listing.list_launches(catalogue, places, last=last)
    if where is None:
        return listing.list_runs(catalogue, last=last)
    found = find_runs(catalogue, find_launches(catalogue, where))
    return listing.list_runs(catalogue, frozenset(name for _, name in found), last=last)
