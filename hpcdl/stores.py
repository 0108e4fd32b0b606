"""Several stores as one, and how runs are found in them: by folder, job id, run id, tag or benchmark."""

from __future__ import annotations

import filecmp
import json
import shlex
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake
from hpcdl.store import RunFolder, Store

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

# A word before the colon says as what the rest is meant, where it could be more than one thing.
TAG, BENCHMARK = "tag:", "benchmark:"
LONGEST_JOB_ID = 19  # digits; what is longer is no number of Slurm's
# What `hpcdl` itself adds to a run later, in one copy and not in the other.
ADDED_LATER = frozenset({"slurm-energy.json"})


class Stores:
    """All runs of several stores; one that was copied counts once."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = tuple({store.root: store for store in stores}.values())

    def __str__(self) -> str:
        """The roots, for messages."""
        return ", ".join(str(store.root) for store in self.stores)

    def places(self, *, known: Sequence[Container[str]] | None = None) -> list[tuple[Store, str]]:
        """Store and run id of each run, oldest first.

        Args:
            known: For each store the names that need not be looked into.

        Raises:
            Mistake: Two stores hold different runs under one id.
        """
        found: dict[str, Store] = {}
        for store, names in zip(self.stores, known or [()] * len(self.stores), strict=True):
            for name in store.names(known=names):
                first = found.setdefault(name, store)
                if first is not store:
                    _require_same(first.root / name, store.root / name)
        return [(found[name], name) for name in sorted(found)]

    def runs(self) -> list[RunFolder]:
        """Oldest first."""
        return [RunFolder(store.root / name) for store, name in self.places()]

    def find(self, text: str) -> RunFolder:
        """One run, by whatever `find_all` takes.

        Raises:
            Mistake: None fits, or more than one.
        """
        found = self.find_all(text)
        if len(found) > 1:
            raise Mistake(f"{text!r} is {len(found)} runs: {_name_some(found)}.", do="Write one of the ids.")
        return found[0]

    def find_all(self, text: str) -> list[RunFolder]:
        """The runs that a text names, oldest first.

        One by its folder, by Slurm job id, by its own id, by the beginning or the end of that, or `last`; all
        of a tag or of a benchmark's name. A whole job id goes before the beginning of an id: small numbers are
        both. `tag:NAME` and `benchmark:NAME` are only that.

        Raises:
            Mistake: None fits; the beginning of an id fits several; the text is a tag of some and the benchmark
                of others; or it is empty.
        """
        if not text.strip():
            raise Mistake(f"{text!r} names no run.", do="Write a run's id, or last.")
        if (Path(text) / "job.json").is_file():
            return [RunFolder(Path(text).absolute())]
        found = self._find_last() if text == "last" else self._find_one(text)
        if found:
            return found
        runs = self.runs()
        group = _find_group(runs, text)
        if group:
            return group
        _refuse_store(text)
        if not runs:
            raise Mistake(f"there are no runs in {self}.", do="Start one: hpcdl run smoke.")
        raise Mistake(f"there is no run {text!r} in {self}.", do="`hpcdl list` shows what there is.")

    def _find_last(self) -> list[RunFolder]:
        """Without a look into any folder but the newest."""
        return list(islice(self._look_into(sorted(self._list_folders(), reverse=True)), 1))

    def _find_one(self, text: str) -> list[RunFolder]:
        """By job id or by a part of its own: only folders whose names fit are looked into for the latter."""
        found: list[RunFolder] = []
        if text.isdecimal() and len(text) < LONGEST_JOB_ID:
            found = [run for run in self.runs() if _slurm_job_id(run) == int(text)]
        if not found:
            fits = [
                name for name in self._list_folders() if name.startswith(text) or name.endswith(f"-{text}")
            ]
            found = list(self._look_into(sorted(fits)))
        if len(found) > 1:
            raise Mistake(
                f"{text!r} fits {len(found)} runs: {_name_some(found)}.", do="Write more of the id."
            )
        return found

    def _list_folders(self) -> set[str]:
        """The names of all folders, runs or not."""
        return {name for store in self.stores for name in store.folders()}

    def _look_into(self, names: Iterable[str]) -> Iterator[RunFolder]:
        """Those of the folders that are runs.

        Raises:
            Mistake: Two stores hold different runs under one of the names.
        """
        for name in names:
            runs = [store.root / name for store in self.stores if (store.root / name / "job.json").is_file()]
            for other in runs[1:]:
                _require_same(runs[0], other)
            if runs:
                yield RunFolder(runs[0])


def _refuse_store(text: str) -> None:
    """A folder that is no run may be one that holds runs.

    Raises:
        Mistake: It is one.
    """
    try:
        held = Path(text).is_dir() and bool(Store(Path(text)).names())
    except (Mistake, OSError, ValueError):
        return
    if held:
        raise Mistake(f"{text} is a store, not a run.", do=f"Write --store {shlex.quote(text)}.")


def _find_group(runs: Sequence[RunFolder], text: str) -> list[RunFolder]:
    """All of a tag or of a benchmark; both of one name are an ambiguity, where they are not the same runs."""
    named = text.removeprefix(TAG).removeprefix(BENCHMARK)
    told = [(run, *_read_names(run, named)) for run in runs]
    tagged = [run for run, _, tags in told if named in tags and not text.startswith(BENCHMARK)]
    called = [run for run, name, _ in told if named == name and not text.startswith(TAG)]
    if tagged and called and tagged != called:
        raise Mistake(
            f"{named!r} is the tag of {len(tagged)} runs ({_name_some(tagged)}) and the benchmark of {len(called)} "
            f"({_name_some(called)}).",
            do=f"Write {TAG}{named} or {BENCHMARK}{named}.",
        )
    return tagged or called


def _name_some(runs: Sequence[RunFolder]) -> str:
    """The newest few, and that there are more."""
    more = "…, " if len(runs) > 5 else ""
    return more + ", ".join(run.run_id for run in runs[-5:])


def _slurm_job_id(run: RunFolder) -> int | None:
    submission = run.submission()
    return submission.slurm_job_id if submission else None


def _read_names(run: RunFolder, wanted: str) -> tuple[str, tuple[str, ...]]:
    """Benchmark and tags of a run, where one of them may be `wanted`; a job that cannot be read has none."""
    try:
        data = run.job_path.read_bytes()
        # Most jobs do not hold the word at all, and need not be parsed.
        if json.dumps(wanted).encode() not in data:
            return "", ()
        job = json.loads(data)
        return str(job["name"]), tuple(map(str, job.get("tags", ())))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", ()


def _require_same(one: Path, other: Path) -> None:
    """Two folders of one run id hold the same.

    Raises:
        Mistake: They do not: names both, and the first file that differs.
    """
    differs = find_difference(one, other)
    if differs:
        raise Mistake(
            f"{one} and {other} are two different runs of one id: {differs} is not the same.",
            do="Name only one of the stores, or rename one of the folders.",
        )


def find_difference(one: Path, other: Path) -> str | None:
    """The first file, by name, that is not the same in two folders; None where they hold the same."""
    ours, theirs = _list_files(one), _list_files(other)
    for name in sorted(ours | theirs):
        if name not in ours & theirs or not _is_same(one / name, other / name):
            return name
    return None


def _list_files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ADDED_LATER
    }


def _is_same(one: Path, other: Path) -> bool:
    """By content; a copy that kept the time of its last change is believed by size and time, as rsync does."""
    try:
        a, b = one.stat(), other.stat()

        return a.st_size == b.st_size and (
            a.st_mtime_ns == b.st_mtime_ns or filecmp.cmp(one, other, shallow=False)
        )
    except OSError:
        return False
