"""Queries over rows, as SQLite reads them: in memory, over copies, reading only.

Nothing that a person writes can do more than compare: an authorizer admits one SELECT over the columns and a list of
functions, limits bound what it may hold, and a handler ends it when its time is over.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Protocol

from hpcdl.analysis.rows import COLUMNS
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = "Write it like --where \"model='alexnet' and nodes>1\"."
LIMIT_S = 5.0
OPERATIONS_BETWEEN_LOOKS = 10_000
LARGEST_QUERY, LARGEST_VALUE, LARGEST_PATTERN, DEEPEST = 4_000, 100_000, 200, 100
# Functions that neither touch anything outside nor make large values out of small ones.
FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """abs coalesce date datetime glob ifnull iif instr julianday length like lower ltrim max min nullif round
        rtrim sign strftime substr substring time trim typeof unixepoch upper""",
    )
)


class Rows(Protocol):
    """Anything that has rows by columns."""

    def column(self, name: str) -> list[Any]:
        """The values of a column, all rows in turn."""
        ...


class _Guard:
    """What one query may do, and for how long; remembers what it was refused."""

    def __init__(self, limit_s: float) -> None:
        self._ends_s = time.monotonic() + limit_s
        self._selects = 0
        self.refused = ""
        self.late = False

    def authorize(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            self._selects += 1
            return self._judge("a query within the query", admitted=self._selects == 1)
        if action == sqlite3.SQLITE_READ:
            return self._judge(f"reading {first}", admitted=first == "launches")
        if action == sqlite3.SQLITE_FUNCTION:
            return self._judge(f"the function {second}()", admitted=(second or "").lower() in FUNCTIONS)
        return self._judge("anything but comparing columns", admitted=False)

    def _judge(self, what: str, *, admitted: bool) -> int:
        if not admitted:
            self.refused = self.refused or what
        return sqlite3.SQLITE_OK if admitted else sqlite3.SQLITE_DENY

    def is_late(self) -> bool:
        self.late = time.monotonic() > self._ends_s
        return self.late


def find_rows(rows: Rows, where: str, *, limit_s: float = LIMIT_S) -> list[int]:
    """The places of the rows for which an expression holds, in their order.

    Args:
        rows: Columns as in COLUMNS.
        where: What stands after WHERE in SQLite's language.
        limit_s: How long it may take.

    Raises:
        Mistake: It is no such expression, names an unknown column, wants more than to compare, or takes too long.
    """
    guard = _Guard(limit_s)
    try:
        with contextlib.closing(_load(rows, where)) as connection:
            return _run(connection, where, guard)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as problem:
        raise _explain(where, problem, guard, limit_s) from None


class _Nothing:
    """No rows at all."""

    def column(self, _: str) -> list[Any]:
        return []


def check_query(where: str) -> None:
    """Whether an expression can be read, before anything is looked for.

    Raises:
        Mistake: As of `find_rows`, but for what only values bring about.
    """
    find_rows(_Nothing(), where)


def _load(rows: Rows, where: str) -> sqlite3.Connection:
    """A database in memory with the columns that the text may mean: to fill all would take most of the time."""
    words = {word.lower() for word in re.findall(r"\w+", where)} | {"run_id"}
    names = [name for name in COLUMNS if name in words]
    connection = sqlite3.connect(":memory:", isolation_level=None)
    described = ", ".join(f'"{name}" {COLUMNS[name].kind}' for name in names)
    connection.execute(f"CREATE TABLE launches ({described})")
    marks = ", ".join("?" * len(names))
    connection.execute("BEGIN")
    values = zip(*(rows.column(name) for name in names), strict=True)
    connection.executemany(f"INSERT INTO launches VALUES ({marks})", values)  # noqa: S608 (our own names)
    connection.execute("COMMIT")
    return connection


def _run(connection: sqlite3.Connection, where: str, guard: _Guard) -> list[int]:
    for category, limit in (
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, LARGEST_QUERY + 100),
        (sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LARGEST_PATTERN),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, DEEPEST),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    ):
        connection.setlimit(category, limit)
    connection.set_authorizer(guard.authorize)
    connection.set_progress_handler(guard.is_late, OPERATIONS_BETWEEN_LOOKS)
    # On a line of its own, so that a comment at its end takes nothing along.
    found = connection.execute(f"SELECT rowid FROM launches WHERE (\n{where}\n)")  # noqa: S608 (guarded)
    return sorted({int(place) - 1 for (place,) in _integers(found)})


def _integers(found: sqlite3.Cursor) -> Iterator[tuple[Any]]:
    yield from (row for row in found if isinstance(row[0], int))


def _explain(where: str, problem: BaseException, guard: _Guard, limit_s: float) -> Mistake:
    said = f"--where {where!r}"
    unknown = re.search(r"no such column: (\S+)", str(problem))
    if guard.late:
        return Mistake(f"{said}: this took longer than {limit_s:g} s and was ended.", do=EXAMPLE)
    if guard.refused:
        return Mistake(f"{said}: a query only compares; it may not hold {guard.refused}.", do=EXAMPLE)
    if unknown:
        return _explain_column(said, unknown[1])
    if len(where) > LARGEST_QUERY:
        return Mistake(
            f"--where: {len(where):,} characters are too many, {LARGEST_QUERY:,} are read.", do=EXAMPLE
        )
    return Mistake(f"{said}: {_find_gap(where) or _quote(problem)}.", do=EXAMPLE)


def _quote(problem: BaseException) -> str:
    return f"this cannot be read: {str(problem).rstrip('.')}"


def _find_gap(where: str) -> str:
    """What an expression lacks at its end. The brackets around it, which nobody typed, are left out for that."""
    try:
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            # Of what nobody authorizes nothing is done; what is no expression is no statement before that.
            connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
            connection.execute(f"EXPLAIN SELECT 1 WHERE\n{where}\n")
    except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as problem:
        said = str(problem)
        if said == "incomplete input":
            return "it ends too early"
        if re.match('unrecognized token: "[\'"`[]', said):
            return "a quotation mark is not closed"
    return ""


def _explain_column(said: str, name: str) -> Mistake:
    near = difflib.get_close_matches(name.lower(), COLUMNS, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return Mistake(
        f"{said}: there is no column {name!r}.",
        do=f"{hint}A word is written in quotes: model='alexnet'. Columns: {', '.join(COLUMNS)}.",
    )
