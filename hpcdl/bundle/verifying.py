"""A bundle -> whether it is what was packed, and whether its report follows from its records."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hpcdl
from hpcdl.bundle import archive
from hpcdl.bundle.manifest import RECORDS, REPORTS, check_sums, read_manifest
from hpcdl.bundle.rendering import make_report, render
from hpcdl.errors import Failure, Mistake
from hpcdl.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcdl.bundle.manifest import Manifest
    from hpcdl.report.content import Report

# Sums of other lengths of vector registers differ in their last digits.
TOLERANCE = 1e-9
SHOWN = 5
LAUNCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Verified:
    """A bundle that is what was packed. `report` was made again, from its records.

    `differences` are those of the report in the bundle, where another version of hpcdl made it; `unlike` are files
    of it that this machine writes differently although their numbers agree. `folder` is where it was unpacked.
    """

    path: Path
    files: int
    manifest: Manifest
    report: Report
    differences: tuple[str, ...]
    unlike: tuple[str, ...]
    folder: Path | None


def verify_bundle(
    path: Path, *, extract: Path | None = None, limit_bytes: int = archive.LIMIT_BYTES
) -> Verified:
    """Check a bundle that anybody may have made: its members, checksums, records, and its report against these.

    Args:
        path: The bundle.
        extract: Leave it unpacked in this folder, if it holds.
        limit_bytes: As much may come out of it.

    Raises:
        Mistake: It is no bundle.
        Failure: Its files are not what was packed, or its report does not follow from its records.
    """
    if extract is not None:
        _make_folder(extract)
    with tempfile.TemporaryDirectory(prefix=".hpcdl-verify-", dir=extract) as text:
        top, sums = archive.unpack(path, Path(text), limit_bytes=limit_bytes)
        folder = Path(text) / top
        check_sums(folder, sums)
        manifest = read_manifest(folder)
        _check_records(folder, manifest, sums)
        report = make_report(folder, manifest)
        differences, unlike = _compare(folder, manifest, render(report))
        kept = None if extract is None else _keep(folder, extract / top)
    return Verified(path, len(sums), manifest, report, tuple(differences), tuple(unlike), kept)


def _make_folder(extract: Path) -> None:
    try:
        extract.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Mistake(f"--extract {extract}: cannot be made ({problem.strerror}).") from None


def _keep(folder: Path, place: Path) -> Path:
    if place.exists():
        raise Mistake(f"{place} is there already.", do="Choose another folder with --extract, or remove it.")
    shutil.move(folder, place)
    return place


def _check_records(folder: Path, manifest: Manifest, sums: Mapping[str, str]) -> None:
    """The records are of the runs that are named, and of no others; and no plan points out of its folder."""
    named = {run.run for run in manifest.runs}
    found = {name.split("/")[1] for name in sums if name.startswith(f"{RECORDS}/")}
    if named != found:
        odd = ", ".join(sorted(named ^ found))
        raise Failure(f"the bundle is not what was packed: its runs and its records differ: {odd}.")
    for run in manifest.runs:
        for launch in RunFolder(folder / RECORDS / run.run).job().launches:
            if not LAUNCH.fullmatch(launch.name):
                raise Mistake(f"this bundle is refused: run {run.run} has a launch named {launch.name!r}.")


def _compare(folder: Path, manifest: Manifest, made: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """What differs in the numbers, and which other files are not alike.

    Raises:
        Failure: The same version of hpcdl makes another report from these records.
    """
    name = REPORTS["json"]
    differences = list(find_differences(_read_json(folder / name), json.loads(made[name])))
    if differences and manifest.hpcdl == hpcdl.__version__:
        more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise Failure(
            f"the report does not follow from the records: {'; '.join(differences[:SHOWN])}{more}.",
            do="Its checksums hold, so that it was packed like this: ask who made it.",
        )
    unlike = [
        other
        for other, text in made.items()
        if other != name and (folder / other).is_file() and _read_text(folder / other) != text
    ]
    if REPORTS["markdown"] in unlike and manifest.hpcdl == hpcdl.__version__:
        raise Failure(f"{REPORTS['markdown']} does not follow from the records, although {name} does.")
    return differences, unlike


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise Mistake(f"this is no bundle: it has no readable {path.name}.") from None


def find_differences(packed: Any, made: Any, place: str = "") -> Iterator[str]:
    """Where two JSON documents differ, in words; numbers that agree to nine digits are the same."""
    if isinstance(packed, dict) and isinstance(made, dict):
        for key in dict.fromkeys([*packed, *made]):
            inner = f"{place}.{key}" if place else key
            if key in packed and key in made:
                yield from find_differences(packed[key], made[key], inner)
            else:
                yield f"{inner} is only in the {'bundle' if key in packed else 'records'}"
    elif isinstance(packed, list) and isinstance(made, list) and len(packed) == len(made):
        for index, (one, other) in enumerate(zip(packed, made, strict=True)):
            yield from find_differences(one, other, f"{place}[{index}]")
    elif not _is_same(packed, made):
        yield f"{place} is {_show(packed)} in the bundle and {_show(made)} by the records"


def _is_same(one: Any, other: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return (
        math.isclose(one, other, rel_tol=TOLERANCE) if numbers else type(one) is type(other) and one == other
    )


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
