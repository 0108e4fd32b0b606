"""What a picture shows, before anybody draws it: data and words, no colours and no sizes.

A picture says by itself what it is of: whoever copies it out of a report takes its subtitle along, with the marks
(REHEARSAL, estimated, published) that its numbers carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hpcdl.report.content import Unit

# How a series came about; each is drawn so that it cannot be taken for another, in print too.
Role = Literal["measured", "ideal", "predicted", "published", "withheld", "estimated"]


@dataclass(frozen=True)
class Axis:
    """A direction with its unit. `zero`: the axis begins at zero, so that lengths can be compared.

    `whole`: what is counted has no fractions. `currency` is the ISO 4217 code where the unit is money.
    """

    title: str
    unit: Unit = "number"
    log: bool = False
    zero: bool = True
    whole: bool = False
    currency: str = ""


@dataclass(frozen=True)
class Dot:
    """One value at a place; `low` and `high` are the ends of its 95 % interval. `label` is shown beside it.

    A `y` that is not a number is a gap in its course.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Series:
    """Dots that belong together, by x."""

    name: str
    role: Role
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Stretch:
    """A shaded part of the x axis, such as the window that was measured."""

    begin: float
    end: float
    name: str


@dataclass(frozen=True)
class Lines:
    """Courses over x."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    stretches: tuple[Stretch, ...] = ()


@dataclass(frozen=True)
class Scatter:
    """Dots of two measures, with their labels; no line joins them."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]


@dataclass(frozen=True)
class HeatMap:
    """Values of `rows` x `columns`, each row and column named; None where there is none.

    `worst` is the end that must not vanish where rows or columns are drawn together: a slow rank, a slow link.
    """

    x: Axis
    y: Axis
    value: Axis
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    worst: Literal["highest", "lowest"] = "highest"


@dataclass(frozen=True)
class Stack:
    """One bar for each (label, parts): what a whole is made of; parts are (name, value), everywhere in one order."""

    value: Axis
    bars: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]


@dataclass(frozen=True)
class Bars:
    """One bar for each (label, role, dot): `dot.y` with its interval; `dot.x` is not read."""

    value: Axis
    bars: tuple[tuple[str, Role, Dot], ...]


@dataclass(frozen=True)
class Waterfall:
    """From nothing to the sum of all: each (label, amount) begins where the last one ended."""

    value: Axis
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Swing:
    """What the result becomes at the two ends of one assumption, which are named beside the bar."""

    label: str
    at_low: float
    at_high: float
    low_text: str
    high_text: str


@dataclass(frozen=True)
class Tornado:
    """How far each assumption moves the result, the widest first, around `base`."""

    value: Axis
    base: float
    swings: tuple[Swing, ...]


Form = Lines | Scatter | HeatMap | Stack | Bars | Waterfall | Tornado


@dataclass(frozen=True)
class Picture:
    """One picture. `key` names its file; `alt` tells in words what there is to see; `caption` what to know first.

    `subtitle` stands inside the picture: the machine, the boundary, and marks such as REHEARSAL. `beside` is the key
    of the table that it belongs to; without one it stands before all tables.
    """

    key: str
    title: str
    subtitle: str
    alt: str
    form: Form
    caption: str = ""
    beside: str = ""
