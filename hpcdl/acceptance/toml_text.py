"""Writing TOML: the few kinds of values that a baseline holds, as a person would write them.

tomllib only reads. What stands here is read back by it (tests hold that, for all names).
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Value = str | bool | int | float | datetime | list[str]
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def write_string(text: str) -> str:
    """A basic string of TOML 1.0; half of a surrogate pair, which no file can hold, becomes a replacement character."""
    return f'"{"".join(map(_write_letter, text))}"'


def _write_letter(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if "\ud800" <= letter <= "\udfff":
        return "\N{REPLACEMENT CHARACTER}"
    # The controls that TOML forbids, and those that move what a reviewer sees.
    if not letter.isprintable():
        return f"\\U{ord(letter):08X}"
    return letter


def write_key(*names: str) -> str:
    """A dotted key, its parts quoted where they must be."""
    return ".".join(name if name and _BARE.issuperset(name) else write_string(name) for name in names)


def write_value(value: Value) -> str:
    """A value.

    Raises:
        ValueError: A number that is none.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return write_string(value)
        case int():
            return str(value)
        case float():
            if not isfinite(value):
                raise ValueError(f"{value} is no number to keep")
            # repr() is the shortest text that is read back as the same number; TOML wants a point or an exponent.
            return repr(value)
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        case list():
            return f"[{', '.join(map(write_string, value))}]"


def write_table(header: str, values: Mapping[str, Value | None]) -> Iterator[str]:
    """A table's lines, with its header where it has one; what is None is left out."""
    if header:
        yield header
    for name, value in values.items():
        if value is not None:
            yield f"{write_key(name)} = {write_value(value)}"


def write_comment(lines: Sequence[str]) -> Iterator[str]:
    """Lines of a comment: nothing in them can end it."""
    for line in lines:
        text = "".join(letter if letter.isprintable() else " " for letter in line)
        yield f"# {text}".rstrip()
