"""Control characters: records are written elsewhere, and what they say must not command the terminal that shows it.

Every format but JSON, which escapes by itself, is rendered from a report that went through here.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hpcdl.report.content import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# What begins a new line, or moves within one: Unicode's line and paragraph separators do so too.
_BREAKS = re.compile("[\t\n\r\x0b\x0c\x85\u2028\u2029]+")
# The rest of C0, DEL and C1; what turns the direction of writing (Unicode's UAX 9); halves of surrogate pairs, which
# no file can hold.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# What JSON need not escape, and a terminal obeys all the same.
_UNESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

Whole = TypeVar("Whole")


def replace_controls(text: str, *, lines: bool = False) -> str:
    """The text as one line, in which nothing is a command; with `lines` its line feeds and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    if lines:
        kept = (map(replace_controls, line.split("\t")) for line in re.split("\r?\n", text))
        done = "\n".join("\t".join(words) for words in kept)
        return text if done == text else done
    return _CONTROLS.sub(REPLACEMENT, _BREAKS.sub(" ", text))


def escape_controls(json_text: str) -> str:
    """JSON of the same meaning, with escapes for what `json.dumps` leaves as it is."""
    return _UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


def clean(whole: Whole) -> Whole:
    """A report, a table or a picture with all of its words as `replace_controls` leaves them.

    What holds nothing to be replaced is returned itself, not a copy. Only sources have lines.
    """
    return cast("Whole", _clean(whole))


def _clean(part: Any) -> Any:
    match part:
        case str():
            return replace_controls(part)
        case tuple():
            cleaned = tuple(map(_clean, part))
            return part if all(map(_is, cleaned, part)) else cleaned
        case Source():
            return _renew(part, _clean_fields(part) | {"text": replace_controls(part.text, lines=True)})
        case _ if is_dataclass(part):
            return _renew(part, _clean_fields(part))
        case _ if isinstance(getattr(part, "missing", None), str):
            # Missing and its kin are records, which are copied in their own way.
            reason = replace_controls(part.missing)
            return part if reason == part.missing else part.model_copy(update={"missing": reason})
        case _:
            return part


def _is(one: object, other: object) -> bool:
    return one is other


def _clean_fields(part: Any) -> dict[str, Any]:
    return {field.name: _clean(getattr(part, field.name)) for field in fields(part)}


def _renew(part: Any, values: Mapping[str, Any]) -> Any:
    changed = {name: value for name, value in values.items() if value is not getattr(part, name)}
    return replace(part, **changed) if changed else part
