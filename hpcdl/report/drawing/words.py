"""Words in pictures. They come from records, and stay words.

Vega-Lite writes titles of tooltips and names in filters into expressions, and the library that draws aborts the
process on a character that XML does not know. So words are cleaned, and stand in data alone.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcdl.report.pictures import Picture

# What XML 1.0 knows (section 2.2), less the control characters from U+007F on.
_STRANGE = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
TIP = {"field": "tip", "type": "nominal"}


def clean(text: str) -> str:
    """One line without control characters."""
    return _STRANGE.sub("", " ".join(text.split()))


def clean_picture(picture: Picture) -> Picture:
    """The picture with all its words cleaned."""
    return _clean(picture)  # type: ignore[no-any-return]


def _clean(thing: Any) -> Any:
    if isinstance(thing, str):
        return clean(thing)
    if isinstance(thing, tuple):
        # A row of a heat map has no words, and there may be thousands of them.
        numbers = bool(thing) and isinstance(thing[0], float | int | None)
        return thing if numbers else tuple(map(_clean, thing))
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{field.name: _clean(getattr(thing, field.name)) for field in fields(thing)})
    return thing


def write_tip(*lines: tuple[str, str]) -> str:
    """What is shown where a mark is pointed at: a line for each (title, text) that has a text."""
    return "\n".join(f"{title}: {text}" for title, text in lines if text)
