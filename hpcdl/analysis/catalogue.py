"""The rows of several stores as one table, each run once, and which of its runs a query selects."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from hpcdl.analysis.index import Index, ask_nobody
from hpcdl.analysis.query import check_query, find_rows
from hpcdl.analysis.rows import COLUMNS
from hpcdl.errors import Mistake
from hpcdl.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hpcdl.analysis.index import Ask
    from hpcdl.analysis.rows import Row
    from hpcdl.stores import Stores

# What a person is told where nothing matches: enough to write a better query.
TOLD_OF = ("model", "nodes", "state", "engine", "device", "name")
TOLD_VALUES = 6


class Catalogue:
    """Runs and their rows, one row for each launch; store by store, and the oldest first within each.

    `total` is how many runs there are to choose from. `problems` says which cannot be read, `unsaved` why a cache
    could not be written.
    """

    def __init__(self, parts: Sequence[tuple[Index, list[str]]], total: int) -> None:
        self._parts = [(index, names) for index, names in parts if names]
        self._columns: dict[str, list[Any]] = {}
        self.total = total
        self.problems = tuple(chain.from_iterable(index.problems.values() for index, _ in parts))
        self.unsaved = next((index.unsaved for index, _ in parts if index.unsaved), None)
        self.counts = list(chain.from_iterable(index.counts(names) for index, names in self._parts))

    def column(self, name: str) -> list[Any]:
        """The values of a column, all rows in turn."""
        if name not in self._columns:
            columns = [index.gather(names, name) for index, names in self._parts]
            self._columns[name] = columns[0] if len(columns) == 1 else list(chain.from_iterable(columns))
        return self._columns[name]

    def rows(self, places: Iterable[int], columns: Iterable[str] = COLUMNS) -> list[Row]:
        """Rows by place, with these columns."""
        table = {name: self.column(name) for name in columns}
        return [{name: values[place] for name, values in table.items()} for place in places]

    def runs(self) -> list[tuple[str, int, int]]:
        """Run id, place of the first row and number of rows of each run."""
        names = chain.from_iterable(names for _, names in self._parts)
        starts = accumulate(self.counts, initial=0)
        return list(zip(names, starts, self.counts, strict=False))

    def paths(self) -> list[tuple[Path, str]]:
        """Store and id of each run, in the order of `counts`."""
        return [(index.root, name) for index, names in self._parts for name in names]


def read_stores(
    stores: Stores, *, last: int | None = None, ask: Ask = ask_nobody, anew: bool = False
) -> Catalogue:
    """The runs of these stores, from their indices; what these lack is read.

    Args:
        stores: Where to look.
        last: Only the newest so many.
        ask: Is asked about runs that did not complete.
        anew: Trust no index.

    Raises:
        Mistake: A store cannot be read, or two of them hold different runs under one id.
    """
    indices = {store.root: Index(store.root, anew=anew) for store in stores.stores}
    places = stores.places(known=[index.known for index in indices.values()])
    chosen = places if last is None else places[-last:]
    names: dict[Path, list[str]] = {root: [] for root in indices}
    for store, name in chosen:
        names[store.root].append(name)
    parts = [(index, index.refresh(names[root], ask)) for root, index in indices.items()]
    return Catalogue(parts, len(places))


def read_folders(folders: Iterable[RunFolder], *, ask: Ask = ask_nobody, anew: bool = False) -> Catalogue:
    """The same of runs that were found already, each once."""
    names: dict[Path, list[str]] = {}
    for path in sorted({folder.path for folder in folders}):
        names.setdefault(path.parent, []).append(path.name)
    indices = {root: Index(root, anew=anew) for root in names}
    parts = [(index, index.refresh(names[root], ask)) for root, index in indices.items()]
    return Catalogue(parts, sum(map(len, names.values())))


def find_launches(catalogue: Catalogue, where: str) -> list[int]:
    """The places of the rows that a query selects.

    Raises:
        Mistake: The query cannot be read, or selects none; says what there is.
    """
    places = find_rows(catalogue, where)
    if not places:
        raise Mistake(f"no run fits --where {where!r}.", do=_tell_what_there_is(catalogue))
    return places


def find_runs(catalogue: Catalogue, places: Iterable[int]) -> list[tuple[Path, str]]:
    """Store and id of the runs whose rows these are, by id: the oldest first."""
    ends = list(accumulate(catalogue.counts))
    paths = catalogue.paths()
    hit = {bisect_right(ends, place) for place in places}
    return sorted((paths[run] for run in hit), key=lambda path: path[1])


def select_runs(stores: Stores, where: str, *, ask: Ask = ask_nobody) -> list[RunFolder]:
    """The runs at least one launch of which fits a query, oldest first.

    Args:
        stores: Where to look.
        where: An expression as SQLite reads it, over the columns of `rows.COLUMNS`.
        ask: Is asked about runs that did not complete.

    Raises:
        Mistake: The query cannot be read, or selects none.
    """
    check_query(where)
    catalogue = read_stores(stores, ask=ask)
    found = find_runs(catalogue, find_launches(catalogue, where))
    return [RunFolder(root / name) for root, name in found]


def _tell_what_there_is(catalogue: Catalogue) -> str:
    """'Launches there are of model alexnet (12), lenet (3); nodes 1 (9), 2 (6); …'."""
    if not catalogue.counts:
        return "There are no runs at all: start one with hpcdl run smoke."
    told = [f"{name} {_count(catalogue.column(name))}" for name in TOLD_OF]
    return f"There are {sum(catalogue.counts):,} launches: {'; '.join(told)}."


def _count(values: Sequence[object]) -> str:
    counted = Counter("unknown" if value is None else value for value in values).most_common()
    shown = ", ".join(f"{value} ({count:,})" for value, count in counted[:TOLD_VALUES])
    return shown + (f" and {len(counted) - TOLD_VALUES} others" if len(counted) > TOLD_VALUES else "")
