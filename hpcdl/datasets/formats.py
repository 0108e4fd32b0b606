"""All formats, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.datasets.raw import RAW
from hpcdl.errors import UnknownName

if TYPE_CHECKING:
    from hpcdl.datasets.part import Format

# Image trees are the ninth way, and the only one without an index of its own: see hpcdl.datasets.tree.
FORMATS: dict[str, Format] = {format_.name: format_ for format_ in (RAW,)}


def find_format(name: str) -> Format:
    """A format by name.

    Raises:
        UnknownName: No such format; the nearest is suggested.
    """
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    return FORMATS[name]
