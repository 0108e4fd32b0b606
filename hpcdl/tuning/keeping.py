"""What was found, in the site file: one table of it is written, and every other byte stays."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from hpcdl.durable import publish
from hpcdl.errors import Failure, Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEADER = re.compile(r"^[ \t]*\[")


def write_table(name: str, values: Mapping[str, bool | int | float | str], comment: str) -> str:
    """[tuned.NAME] as TOML."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines.append(f"[tuned.{_key(name)}]")
    lines += [f"{_key(key)} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def keep(path: Path, name: str, values: Mapping[str, bool | int | float | str], comment: str) -> None:
    """Put [tuned.NAME] into a site file, in the place of the one that is there.

    Raises:
        Mistake: The file cannot be read or written, or the table stands in it in a way that is not ours to change.
    """
    # Where a site's files are links into a checkout, the link stays one.
    path = path.resolve()
    try:
        before = path.read_bytes().decode() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as problem:
        raise Mistake(f"{path}: cannot be read ({problem}).") from None
    table = write_table(name, values, comment)
    if "\r\n" in before:
        table = table.replace("\n", "\r\n")
    after = replace_table(before, name, table)
    wanted = _parse(path, before)
    wanted.setdefault("tuned", {})[name] = dict(values)
    try:
        right = tomllib.loads(after) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise Mistake(
            f"{path}: its table [tuned] cannot be changed by a program.", do=f"Write into it:\n{table}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode if path.exists() else None
        publish(path, after)
        if mode is not None:
            path.chmod(mode)
    except (OSError, Failure) as problem:
        raise Mistake(f"{path}: cannot be written ({problem}).", do=f"Write into it:\n{table}") from None


def replace_table(text: str, name: str, table: str) -> str:
    """`text` with `table` where [tuned.NAME] and the comments above it were; or at its end."""
    lines = text.splitlines(keepends=True)
    own = re.compile(
        rf"^[ \t]*\[[ \t]*tuned[ \t]*\.[ \t]*(?:{re.escape(name)}|{re.escape(_quote(name))})[ \t]*\]"
    )
    begin = next((place for place, line in enumerate(lines) if own.match(line)), None)
    if begin is None:
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{gap}{table}"
    end = next((place for place in range(begin + 1, len(lines)) if HEADER.match(lines[place])), len(lines))
    # What stands above the next table belongs to that one.
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    while begin and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    return "".join(lines[:begin]) + table + "".join(lines[end:])


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Mistake(f"{path}: this is not TOML: {problem}.") from None


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quote(name)


def _value(value: float | str) -> str:
    return _quote(value) if isinstance(value, str) else json.dumps(value)


def _quote(text: str) -> str:
    # JSON's escapes are TOML's, but for the one character that JSON lets stand as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
