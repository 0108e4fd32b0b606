"""Runs -> a bundle. The records are copied first, so that what is reported is what is packed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import hpcdl
from hpcdl.bundle import archive
from hpcdl.bundle.manifest import MANIFEST, RECORDS, SUMS, BundledRun, Manifest, write_sums
from hpcdl.bundle.rendering import make_report, render
from hpcdl.errors import Mistake
from hpcdl.frozen import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.analysis.ending import JobState
    from hpcdl.report.content import Report
    from hpcdl.store import RunFolder


@dataclass(frozen=True)
class Packed:
    """A bundle that was written. `left_out` are paths of the runs that are no plain files, and are not in it."""

    path: Path
    size_bytes: int
    sha256: str
    files: int
    manifest: Manifest
    report: Report
    left_out: tuple[str, ...]


def write_bundle(
    runs: Sequence[RunFolder], states: Mapping[str, JobState], target: Path, *, force: bool = False
) -> Packed:
    """Pack runs with their report.

    Args:
        runs: At least one; each once.
        states: What the executors say of them, by run id: it is kept, since the records lack it.
        target: The file, ending in .tar.gz.
        force: Show in the report what is withheld, marked.

    Raises:
        Mistake: Two runs of one name, records that cannot be read, or a file that cannot be written.
    """
    _require_distinct(runs)
    if not target.name.endswith((".tar.gz", ".tgz")):
        raise Mistake(f"{target}: a bundle is a .tar.gz.", do=f"Write -o {target.name}.tar.gz.")
    with tempfile.TemporaryDirectory(prefix="hpcdl-bundle-") as text:
        folder = Path(text)
        left_out = [path for run in runs for path in copy_records(run.path, folder / RECORDS / run.path.name)]
        newest_s = int(max(path.stat().st_mtime for path in folder.rglob("*") if path.is_file()))
        manifest = _describe(runs, states, newest_s, force=force)
        report = make_report(folder, manifest)
        _add(folder, manifest, report, newest_s)
        files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        archive.pack(target, _name_top(runs), files)
    return Packed(target, target.stat().st_size, _hash(target), len(files), manifest, report, tuple(left_out))


def _require_distinct(runs: Sequence[RunFolder]) -> None:
    names = [run.path.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Mistake(f"run {twice} is named twice.", do="Name each run once.")


def copy_records(source: Path, place: Path) -> list[str]:
    """Copy the plain files of a folder; returns what is none. Names with a dot first are files half written.

    Raises:
        Mistake: They cannot be copied.
    """
    left_out = []
    try:
        for path in sorted(source.rglob("*")):
            copy = place / path.relative_to(source)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                left_out.append(str(path))
            elif path.is_file() and not path.name.startswith("."):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
    except OSError as problem:
        raise Mistake(f"the records of {source} cannot be copied ({problem}).") from None
    return left_out


def _describe(
    runs: Sequence[RunFolder], states: Mapping[str, JobState], newest_s: int, *, force: bool
) -> Manifest:
    told = []
    for run in runs:
        state = states.get(run.run_id)
        over, words = (state.over, state.words) if state else (False, "unknown")
        told.append(
            parse(BundledRun, {"run": run.path.name, "over": over, "words": words}, where=str(run.path))
        )
    return Manifest(
        hpcdl=hpcdl.__version__,
        newest_record_utc=datetime.fromtimestamp(newest_s, UTC),
        force=force,
        runs=tuple(told),
    )


def _add(folder: Path, manifest: Manifest, report: Report, newest_s: int) -> None:
    """Manifest, report and checksums beside the records, as old as the newest of these."""
    texts = {MANIFEST: manifest.model_dump_json(indent=1) + "\n", **render(report)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    sums = {str(path.relative_to(folder)): _hash(path) for path in folder.rglob("*") if path.is_file()}
    (folder / SUMS).write_text(write_sums(sums), encoding="utf-8")
    for name in (*texts, SUMS):
        os.utime(folder / name, (newest_s, newest_s))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name_top(runs: Sequence[RunFolder]) -> str:
    more = f"-and-{len(runs) - 1}-more" if len(runs) > 1 else ""
    return f"hpcdl-{runs[0].path.name}{more}"
