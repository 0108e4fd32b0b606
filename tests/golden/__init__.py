"""Texts that the tool prints for others, kept word for word."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent
# HPCDL_UPDATE_GOLDEN=1 writes them anew: look at the difference before you commit it.
UPDATE = os.environ.get("HPCDL_UPDATE_GOLDEN") == "1"


def keep_or_read(name: str, text: str) -> str:
    """The text that is kept under that name; with UPDATE, `text` is kept from now on."""
    path = FOLDER / name
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")
