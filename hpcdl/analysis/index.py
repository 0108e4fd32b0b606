"""The index of a store: rows of runs that were read before, and are trusted while their folders stay as they are.

It is a cache. A run whose folder or launch folders changed is read anew, and so is one that may still change: a file
that grows does not change its folder. Reports read the records all the same; the index chooses runs and feeds lists.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcdl.analysis import index_file
from hpcdl.analysis.index_file import Stored
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.rows import COLUMNS, Row, make_rows
from hpcdl.errors import Failure, Mistake
from hpcdl.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from pathlib import Path

    from hpcdl.analysis.ending import JobState
    from hpcdl.analysis.job import RunResult

    # What the executor says of runs, by run id; those that it says nothing of are left out.
    Ask = Callable[[list[RunFolder]], Mapping[str, JobState]]

ENDED = frozenset({"completed", "failed", "refused", "stopped", "lost"})
# Some file systems tell times to the second, and clocks differ: what changed just now may change again unseen.
RECENT_S = 10.0
# After so long without a new file a run that did not complete is believed to have ended, if nobody can be asked.
QUIET_S = 86_400.0
CHUNK = 200
SAVE_EVERY_S = 20.0


def ask_nobody(_: list[RunFolder]) -> dict[str, JobState]:
    """Where there is no executor to be asked."""
    return {}


@dataclass(frozen=True)
class _Read:
    """A run that was read just now. `mtimes_ns` is None where it is not to be trusted later."""

    rows: list[Row]
    launches: list[str]
    mtimes_ns: list[int] | None


class Index:
    """The rows of one store.

    `problems` says of runs that cannot be read why. `unsaved` is why the cache could not be written, else None.
    """

    def __init__(self, root: Path, *, anew: bool = False) -> None:
        """Load what is cached; `anew` trusts none of it."""
        self.root = root
        self.problems: dict[str, str] = {}
        self.unsaved: str | None = None
        self._stored = Stored() if anew else index_file.load(root, list(COLUMNS))
        self._starts = dict(zip(self._stored.runs, _add_up(self._stored.counts), strict=True))
        self._places = {name: place for place, name in enumerate(self._stored.runs)}
        self._fresh: dict[str, _Read] = {}
        self._columns: dict[str, list[Any]] = {}
        self._saved_s = time.monotonic()

    @property
    def known(self) -> Container[str]:
        """The runs that are cached, trusted or not."""
        return self._places

    def refresh(self, names: Sequence[str], ask: Ask = ask_nobody) -> list[str]:
        """Read anew what is not to be trusted of these runs, and keep it; returns those that can be read.

        Args:
            names: Runs of this store.
            ask: Is asked about runs that did not complete.
        """
        stale = [name for name in names if not self._is_trusted(name)]
        for first in range(0, len(stale), CHUNK):
            self._read(stale[first : first + CHUNK], ask)
            if time.monotonic() - self._saved_s > SAVE_EVERY_S:
                self._save()
        if any(self._fresh[name].mtimes_ns for name in stale if name in self._fresh):
            self._save()
        return [name for name in names if name not in self.problems]

    def counts(self, names: Sequence[str]) -> list[int]:
        """How many rows each of these runs has."""
        if names == self._stored.runs and not self._fresh:
            return self._stored.counts
        return [
            len(self._fresh[name].rows) if name in self._fresh else self._stored.counts[self._places[name]]
            for name in names
        ]

    def gather(self, names: Sequence[str], column: str) -> list[Any]:
        """The values of a column, all rows of these runs in turn."""
        stored = self._column(column)
        if names == self._stored.runs and not self._fresh:
            return stored
        values: list[Any] = []
        for name in names:
            if name in self._fresh:
                values.extend(row[column] for row in self._fresh[name].rows)
            else:
                start = self._starts[name]
                values.extend(stored[start : start + self._stored.counts[self._places[name]]])
        return values

    def _column(self, name: str) -> list[Any]:
        if name not in self._columns:
            self._columns[name] = self._stored.column(name)
        return self._columns[name]

    def _is_trusted(self, name: str) -> bool:
        place = self._places.get(name)
        if place is None:
            return False
        folder = f"{self.root}/{name}"
        return read_mtimes(folder, self._stored.launches[place]) == self._stored.mtimes_ns[place]

    def _read(self, names: Sequence[str], ask: Ask) -> None:
        results = {name: found for name in names if (found := self._analyse(name)) is not None}
        open_runs = [RunFolder(self.root / name) for name in results if results[name][0].state != "completed"]
        states = ask(open_runs) if open_runs else {}
        for name, (first, mtimes_ns) in results.items():
            state = states.get(name)
            again = self._analyse(name, state) if state else (first, mtimes_ns)
            if again is not None:
                result = again[0]
                trusted = is_settled(result, state, mtimes_ns, time.time())
                launches = [launch.plan.name for launch in result.launches]
                self._fresh[name] = _Read(make_rows(result), launches, mtimes_ns if trusted else None)

    def _analyse(self, name: str, state: JobState | None = None) -> tuple[RunResult, list[int]] | None:
        """A run as it is; the times are read before the records, so that a change in between is seen later."""
        folder = RunFolder(self.root / name)
        self.problems.pop(name, None)
        try:
            launches = [launch.name for launch in folder.job().launches]
            mtimes_ns = read_mtimes(str(folder.path), launches)
            return analyse_run(folder, state), mtimes_ns or []
        except Mistake as mistake:
            self.problems[name] = str(mistake)
            return None

    def _save(self) -> None:
        """All that is to be trusted; runs that others added to the file meanwhile are read again another time."""
        self._saved_s = time.monotonic()
        kept = {
            name: (self._stored.launches[place], self._stored.mtimes_ns[place])
            for name, place in self._places.items()
            if name not in self._fresh and name not in self.problems and (self.root / name).is_dir()
        }
        kept |= {
            name: (read.launches, read.mtimes_ns) for name, read in self._fresh.items() if read.mtimes_ns
        }
        runs = sorted(kept)
        try:
            stored = Stored(
                runs, self.counts(runs), [kept[run][0] for run in runs], [kept[run][1] for run in runs]
            )
            index_file.save(self.root, stored, {name: self.gather(runs, name) for name in COLUMNS})
        except (OSError, Failure) as problem:
            self.unsaved = str(problem)


def _add_up(counts: Sequence[int]) -> list[int]:
    """Where each run's rows begin."""
    starts, total = [], 0
    for count in counts:
        starts.append(total)
        total += count
    return starts


def read_mtimes(folder: str, launches: Sequence[str]) -> list[int] | None:
    """When a run's folder and those of its launches were changed last, ns; None where one is not there."""
    try:
        return [
            os.stat(folder).st_mtime_ns,  # noqa: PTH116 (20,000 paths are built in the time of 2,000 Paths)
            *[os.stat(f"{folder}/{name}").st_mtime_ns for name in launches],  # noqa: PTH116
        ]
    except OSError:
        return None


def is_settled(result: RunResult, state: JobState | None, mtimes_ns: Sequence[int], now_s: float) -> bool:
    """Whether a run will stay as it is unless its folders change.

    A run that did not complete must be over by the executor's word; where nobody knows, nothing may have happened
    in it for a day, and for longer than its job could last.
    """
    if not mtimes_ns or result.state not in ENDED:
        return False
    quiet_s = now_s - max(mtimes_ns) / 1e9
    if quiet_s < RECENT_S:
        return False
    over = state is not None and state.over
    return result.state == "completed" or over or quiet_s > max(QUIET_S, result.job.walltime_s)
