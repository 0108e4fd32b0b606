"""What a report says, before anybody decides how it looks. Readings stay readings, with their units.

Keys are stable: they name things in JSON. Titles are for people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hpcdl.records import Reading
    from hpcdl.report.pictures import Picture

# fraction: of 1, shown in percent; half-width: the same, after ±; change: the same, with its sign. ratio, loss and
# number: plain numbers; times: so many of another; serial: Karp-Flatt's fraction, and p a p-value, both published as
# plain numbers. bytes, FLOP, MAC and what is per second take SI prefixes. money is in the quantity's `currency`;
# kg is of CO2 equivalents.
Unit = Literal[
    "images/s",
    "s",
    "fraction",
    "half-width",
    "change",
    "ratio",
    "times",
    "serial",
    "p",
    "loss",
    "number",
    "nodes",
    "bytes",
    "bytes/s",
    "bits/s",
    "FLOP",
    "FLOP/s",
    "MAC",
    "W",
    "J",
    "Wh",
    "kWh",
    "h",
    "days",
    "kg",
    "money",
    "J/image",
    "images/J",
    "MHz",
    "°C",
]
Badge = Literal[
    "published",
    "partial",
    "stopped",
    "withheld",
    "FAILED",
    "REHEARSAL",
    "PASS",
    "FAIL",
    "INSUFFICIENT EVIDENCE",
    "UNSIGNED",
    "SIGNED",
]
NoteKind = Literal["failure", "rehearsal", "warning", "info"]
# How a line of `Report.more` begins that a format with pictures has no need of.
PICTURED = "the same with pictures"


@dataclass(frozen=True)
class Quantity:
    """A reading with its unit. `mark` qualifies it wherever it is shown: 'partial', 'rehearsal'.

    `low` and `high` are the ends of its 95 % interval, where it has one. `struck` is why the number is withheld
    that is shown all the same. `shade` is a character that stands before it in a map. `currency` is the ISO 4217
    code of an amount of money.
    """

    value: Reading
    unit: Unit
    mark: str = ""
    low: float | None = None
    high: float | None = None
    struck: str = ""
    shade: str = ""
    currency: str = ""


@dataclass(frozen=True)
class Span:
    """The smallest and the largest of several."""

    lowest: Quantity
    highest: Quantity


@dataclass(frozen=True)
class Shares:
    """Parts of a whole: (key, title, fraction) in a fixed order."""

    parts: tuple[tuple[str, str, Quantity], ...]


@dataclass(frozen=True)
class Curve:
    """A course over the steps, thinned to what can be looked at."""

    values: tuple[float, ...]
    unit: Unit


# None: does not apply here, which is not the same as missing.
Cell = str | int | Quantity | Span | Shares | Curve | None


@dataclass(frozen=True)
class Column:
    """A column. The terminal leaves out the highest `rank` first where there is no room; 0 always stays.

    `hidden` columns are for programs: only JSON has them. `listed` is the title where rows stand upright and
    a value carries its unit.
    """

    key: str
    title: str
    rank: int = 0
    left: bool = False
    hidden: bool = False
    listed: str = ""

    @property
    def upright_title(self) -> str:
        return self.listed or self.title


@dataclass(frozen=True)
class Fact:
    """One thing that a table as a whole has."""

    key: str
    title: str
    cell: Cell


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns.

    `facts` hold for the table as a whole. `many`: a report may hold several tables of this key. `limit` is
    how many rows a person is shown. `hidden`: only for programs.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    facts: tuple[Fact, ...] = ()
    captions: tuple[str, ...] = ()
    many: bool = False
    limit: int | None = None
    hidden: bool = False

    @property
    def upright(self) -> bool:
        """One row of many columns reads better as a list."""
        return len(self.rows) == 1 and len(self.visible) > 5

    @property
    def visible(self) -> tuple[int, ...]:
        """Indices of the columns that people are shown."""
        return tuple(index for index, column in enumerate(self.columns) if not column.hidden)


@dataclass(frozen=True)
class Note:
    """Something to know before trusting the numbers, or what went wrong."""

    kind: NoteKind
    text: str


@dataclass(frozen=True)
class Source:
    """A text behind the numbers, for those who want to look: a batch script, a plan, what a node said of itself."""

    key: str
    title: str
    text: str


@dataclass(frozen=True)
class Report:
    """The content of one report, whatever the format. `more` tells how to get at what is not here.

    `pictures` show what the sections say; `sources` are the texts behind them, for formats that can fold them away.
    `headline` is the result in a few facts; `about` tells of which runs it is, a line for each.
    `stamp` is what every page has to say, on its own: 'UNSIGNED'.
    """

    kind: Literal[
        "runs",
        "status",
        "list",
        "models",
        "model",
        "doctor",
        "comparison",
        "prediction",
        "loading",
        "sensors",
        "watch",
        "idle",
        "metered",
        "published",
        "equivalence",
        "training",
        "history",
        "query",
        "bundle",
        "acceptance",
        "certificate",
        "verification",
        "baseline",
        "simulation",
        "data-make",
        "data-verify",
        "data-mean",
        "data-info",
        "tuned",
        "candidates",
        "site",
    ]
    title: str
    badges: tuple[Badge, ...] = ()
    sections: tuple[Table, ...] = ()
    notes: tuple[Note, ...] = field(default=())
    more: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    sources: tuple[Source, ...] = ()
    headline: tuple[Fact, ...] = ()
    about: tuple[str, ...] = ()
    stamp: str = ""

    @property
    def shown(self) -> tuple[Table, ...]:
        """The sections that people are shown."""
        return tuple(table for table in self.sections if not table.hidden)

    @property
    def badge(self) -> str:
        """All badges in one line: 'FAILED · REHEARSAL'."""
        return " · ".join(self.badges)
