"""Words as nodes say them: some are tables in JSON, and some are longer than a sentence bears."""

from __future__ import annotations

import json

LONGEST = 60


def read_table(word: str) -> dict[str, object] | None:
    """The table that a word is; None: it is none, or was made by somebody to be taken for one."""
    try:
        found = json.loads(word)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def cut(text: str, longest: int) -> str:
    """As much of it as there is room for."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def shorten(word: str) -> str:
    """On one line, and as much of it as a sentence bears."""
    return cut(" ".join(word.split()), LONGEST)
