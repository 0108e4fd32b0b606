"""The index of a store on disk: one file of JSON lines, column by column, so that a reader parses what it needs.

    {"schema": "hpcdl.index", "schema_version": 1, "stamp": …, "root": …, "columns": […]}
    {"runs": […], "counts": […], "launches": …, "mtimes_ns": […]}
    one line for each column
    {"crc32": of all before it}

A column whose values repeat is written as {"distinct": […], "codes": […]}, any other as {"values": […]}.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from hpcdl.durable import publish

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = "hpcdl.index"
SCHEMA_VERSION = 1
# Whatever makes a row what it is: another version of these makes other rows.
SOURCES = ("analysis", "estimates", "columns.py", "plan.py", "records.py", "store.py", "trace.py")


@dataclass
class Stored:
    """What an index holds, run by run: rows, folders of launches, and when run and launches were changed last.

    `counts` are the rows of each run, `mtimes_ns` those of its folder and of each of `launches`. The columns are
    parsed when they are asked for.
    """

    runs: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    launches: list[list[str]] = field(default_factory=list)
    mtimes_ns: list[list[int]] = field(default_factory=list)
    lines: dict[str, bytes] = field(default_factory=dict)

    def column(self, name: str) -> list[Any]:
        """The values of all rows.

        Raises:
            ValueError: The line is no column of as many rows.
        """
        if not self.runs:
            return []
        values = decode_column(json.loads(self.lines[name]))
        if len(values) != sum(self.counts):
            raise ValueError(f"column {name} has {len(values)} values")
        return values


def place_of(root: Path) -> Path:
    """The file for a store: named after its folder, and told apart by a digest of its whole path."""
    digest = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("hpcdl")) / "index" / f"{digest}.jsonl"


def stamp_code() -> str:
    """Changes whenever the code is another that makes rows out of records: by name, size and time of its files."""
    package = Path(__file__).parents[1]
    paths = [path for name in SOURCES for path in sorted((package / name).rglob("*.py")) or [package / name]]
    told = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def load(root: Path, columns: Sequence[str]) -> Stored:
    """What the file holds; nothing where it is absent, torn, or another version's.

    Args:
        root: The store.
        columns: All columns that there must be.
    """
    try:
        return _parse(place_of(root).read_bytes(), str(root), columns)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return Stored()


def _parse(data: bytes, root: str, columns: Sequence[str]) -> Stored:
    body, end = data[: data.rindex(b"\n", 0, -1) + 1], data[data.rindex(b"\n", 0, -1) + 1 :]
    head, runs, *lines = body.splitlines()
    whole = json.loads(end) == {"crc32": zlib.crc32(body)} and len(lines) == len(columns)
    if not whole or json.loads(head) != _head(root, columns):
        return Stored()
    told = json.loads(runs)
    stored = Stored(
        told["runs"],
        told["counts"],
        decode_column(told["launches"]),
        told["mtimes_ns"],
        dict(zip(columns, lines, strict=True)),
    )
    lengths = {len(part) for part in (stored.runs, stored.counts, stored.launches, stored.mtimes_ns)}
    return stored if len(lengths) == 1 else Stored()


def _head(root: str, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "stamp": stamp_code(),
        "root": root,
        "columns": list(columns),
    }


def save(root: Path, stored: Stored, table: dict[str, list[Any]]) -> None:
    """Write it all, atomically.

    Args:
        root: The store.
        stored: The runs; its own lines are not read.
        table: A list of values for each column.

    Raises:
        OSError, Failure: The cache folder cannot be written; a reader does without.
    """
    told = {
        "runs": stored.runs,
        "counts": stored.counts,
        "launches": encode_column(stored.launches),
        "mtimes_ns": stored.mtimes_ns,
    }
    lines = [_head(str(root), list(table)), told, *map(encode_column, table.values())]
    body = "".join(f"{json.dumps(line)}\n" for line in lines)
    place = place_of(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    publish(place, body + json.dumps({"crc32": zlib.crc32(body.encode())}) + "\n")


def encode_column(values: list[Any]) -> dict[str, list[Any]]:
    """Values that repeat are written once."""
    codes: dict[Any, int] = {}
    # A type beside the value: 1, 1.0 and True are equal, and not the same.
    keys = [(type(value).__name__, tuple(value) if isinstance(value, list) else value) for value in values]
    placed = [codes.setdefault(key, len(codes)) for key in keys]
    if 2 * len(codes) > len(values):
        return {"values": values}
    return {"distinct": [value for _, value in codes], "codes": placed}


def decode_column(line: dict[str, list[Any]]) -> list[Any]:
    """The inverse of `encode_column`."""
    if "values" in line:
        return line["values"]
    distinct = line["distinct"]
    return [distinct[code] for code in line["codes"]]
