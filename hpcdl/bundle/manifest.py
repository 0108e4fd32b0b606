"""What a bundle says of itself: its runs and how its report was asked for, and the checksums of its files."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from hpcdl.errors import Failure, Mistake
from hpcdl.frozen import Frozen, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST, SUMS, RECORDS = "hpcdl-bundle.json", "SHA256SUMS", "records"
# Report files by the format that writes them.
REPORTS = {"json": "report.json", "markdown": "report.md", "html": "report.html"}
SHOWN = 10

# One step of a path, and no way out of a folder.
Folder = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}$")]


class BundledRun(Frozen):
    """A run by the name of its folder, and what its executor said when it was bundled: the records lack that."""

    run: Folder
    over: bool
    words: str


class Manifest(Frozen):
    """`hpcdl-bundle.json`. `newest_record_utc` is when the last of the records was written."""

    kind: Literal["hpcdl.bundle"] = "hpcdl.bundle"
    schema_version: Literal[1] = 1
    hpcdl: str
    newest_record_utc: datetime
    force: bool
    runs: Annotated[tuple[BundledRun, ...], Field(min_length=1)]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an unpacked bundle.

    Raises:
        Mistake: There is none, or it is of another kind or version.
    """
    try:
        data = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        raise Mistake(f"this is no bundle: it has no readable {MANIFEST}.") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > 1:
        raise Mistake(
            f"{MANIFEST}: this bundle is of schema version {version}, and this hpcdl reads 1.",
            do="Verify it with a newer hpcdl.",
        )
    return parse(Manifest, data, where=MANIFEST)


def write_sums(sums: Mapping[str, str]) -> str:
    """Checksums by path, as `sha256sum -c` reads them."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Compare what was found with what SHA256SUMS says.

    Args:
        folder: The unpacked bundle.
        sums: The checksums of all its files, by path.

    Raises:
        Mistake: There is no SHA256SUMS.
        Failure: Files are missing, not listed, or not what they were; names each, the first few of many.
    """
    found = {name: digest for name, digest in sums.items() if name != SUMS}
    if SUMS not in sums:
        raise Mistake(f"this is no bundle: it has no {SUMS}.")
    text = (folder / SUMS).read_bytes()
    if text == write_sums(found).encode():
        return
    listed = _parse(text)
    troubles = [
        *(f"{name} is missing" for name in sorted(listed.keys() - found.keys())),
        *(f"{name} is not listed" for name in sorted(found.keys() - listed.keys())),
        *(
            f"{name} has changed"
            for name in sorted(listed.keys() & found.keys())
            if listed[name] != found[name]
        ),
    ] or [f"{SUMS} itself has changed"]
    more = f" and {len(troubles) - SHOWN} more" if len(troubles) > SHOWN else ""
    raise Failure(
        f"the bundle is not what was packed: {'; '.join(troubles[:SHOWN])}{more}.",
        do="Ask for it again; nothing in it can be trusted.",
    )


def _parse(text: bytes) -> dict[str, str]:
    lines = text.decode("utf-8", "replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
