"""Published figures, each with its source and conditions: the files of hpcdl/published, and their schema.

What stands there was read in the source named; what follows from it by arithmetic is computed where it is shown, and
said to be. A figure that a source does not give is not there.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from hpcdl import networks
from hpcdl.errors import Mistake, UnknownName
from hpcdl.frozen import Frozen, parse, read_toml

FOLDER = Path(__file__).with_name("published")
# What stands before the name of a published system where runs may be named too.
PREFIX = "published:"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Above = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
FIGURES = ("images_per_s", "step_s", "speed_up", "efficiency", "missing")


class Source(Frozen):
    """Where the figures were read. `url` is where the public can read them too, where that is known."""

    document: Text
    authors: str = ""
    date: str = ""
    url: Annotated[str, StringConstraints(pattern=r"^https://\S+$")] | None = None

    @property
    def text(self) -> str:
        """'authors: document, date, address'."""
        parts = [self.document, self.date, self.url or ""]
        named = ", ".join(part for part in parts if part)
        return f"{self.authors}: {named}" if self.authors else named


class Conditions(Frozen):
    """What has to be known to read the figures. `leaves_out` is what they do not hold, or what nobody has told."""

    framework: str = ""
    hardware: str = ""
    batch: str = ""
    precision: str = ""
    data: str = ""
    leaves_out: Text


class Row(Frozen):
    """One figure, of `devices` devices together (None: the source does not say how many).

    Exactly one of: `images_per_s`; `step_s`, the seconds of one iteration, of which `forward_s` and `backward_s` are
    parts; `speed_up` over the series' base; `efficiency`, its part of the ideal; `missing`, why there is none.
    """

    label: str = ""
    devices: Count | None = None
    images_per_s: Above | None = None
    step_s: Above | None = None
    forward_s: Above | None = None
    backward_s: Above | None = None
    speed_up: Above | None = None
    efficiency: Annotated[float, Field(gt=0, le=1)] | None = None
    missing: str | None = None

    @model_validator(mode="after")
    def _one_figure(self) -> Self:
        given = [name for name in FIGURES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a row has exactly one of {', '.join(FIGURES)}, not {len(given)}")
        if self.step_s is None and (self.forward_s or self.backward_s):
            raise ValueError("forward_s and backward_s are parts of a step_s")
        if (self.speed_up or self.efficiency) and self.devices is None:
            raise ValueError("a speed-up is of some number of devices")
        return self


class Series(Frozen):
    """Figures of one network under the same conditions.

    `network` is what the source calls it. `same_as` names it in hpcdl, only where it is the very same network.
    `batch` are the images of one iteration over all devices, where a rate is to be made of an iteration's time. `mode`
    is how the batch goes with the devices, `base_devices` what its speed-ups or efficiencies are over; None: the source
    does not say. Rates are compared with those of the fewest devices, and need no such word.
    """

    label: Text
    network: Text
    same_as: str | None = None
    batch: Count | None = None
    mode: Literal["weak", "strong"] | None = None
    base_devices: Count | None = None
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]

    @field_validator("same_as")
    @classmethod
    def _known_network(cls, name: str | None) -> str | None:
        if name is not None and name not in networks.NETWORKS:
            raise ValueError(f"{name!r} is none of hpcdl's networks: {', '.join(networks.NETWORKS)}")
        return name

    @model_validator(mode="after")
    def _one_row_for_each_size(self) -> Self:
        places = [(row.label, row.devices) for row in self.rows]
        if len(set(places)) < len(places):
            raise ValueError("two rows have the same label and number of devices")
        return self

    @model_validator(mode="after")
    def _base_of_something(self) -> Self:
        if self.base_devices is not None and not self.relative:
            raise ValueError("base_devices is the base of a speed-up or an efficiency, and no row has one")
        return self

    @property
    def relative(self) -> bool:
        """Whether the source gives speed-ups or efficiencies, and not what they were made of."""
        return any(row.speed_up or row.efficiency for row in self.rows)

    @property
    def scales(self) -> bool:
        """Whether these are sizes of one thing, or speed-ups over a base, to be compared with each other."""
        return self.relative or len({row.devices for row in self.rows if row.devices}) > 1


class System(Frozen):
    """A machine as a document describes it; what the document does not say is not there. `power_w` is all of it."""

    name: Name
    title: Text
    servers: Count | None = None
    cpus: Count | None = None
    gpus: Count | None = None
    cores: Count | None = None
    gpu: str = ""
    power_w: Above | None = None
    price: Above | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    peak_flops_per_s: Above | None = None

    @model_validator(mode="after")
    def _in_some_currency(self) -> Self:
        if (self.price is None) != (self.currency is None):
            raise ValueError("price and currency stand together")
        return self


class Task(Frozen):
    """A training as a document sketches it: from the least to the most of each."""

    label: Text
    images: tuple[Count, Count]
    parameters: Count
    flop: Above
    gpu_days: tuple[Above, Above]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.images[0] > self.images[1] or self.gpu_days[0] > self.gpu_days[1]:
            raise ValueError("images and gpu_days are from the least to the most")
        return self


class Reference(Frozen):
    """One file. `same_work` is the source's claim that all its systems do the same work, where it makes one."""

    name: Name
    title: Text
    source: Source
    conditions: Conditions
    same_work: str = ""
    series: tuple[Series, ...] = ()
    systems: tuple[System, ...] = ()
    tasks: tuple[Task, ...] = ()

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not (self.series or self.systems or self.tasks):
            raise ValueError("there are no figures: series, systems or tasks")
        return self


def read_reference(path: Path) -> Reference:
    """One file of published figures.

    Raises:
        Mistake: It cannot be read, or is not of the schema; or its name is not that of the file.
    """
    reference = parse(Reference, read_toml(path), where=str(path))
    if reference.name != path.stem:
        raise Mistake(f"{path}: its name is {reference.name!r}, and the file is called {path.stem!r}.")
    return reference


@cache
def load_references() -> dict[str, Reference]:
    """All that come with hpcdl, by name, in the order of their names."""
    return {path.stem: read_reference(path) for path in sorted(FOLDER.glob("*.toml"))}


def find_reference(name: str) -> Reference:
    """The published figures of that name. Raises UnknownName, which suggests the nearest."""
    known = load_references()
    if name not in known:
        raise UnknownName("published reference", name, known)
    return known[name]


def find_system(name: str) -> tuple[Reference, System]:
    """A published machine by its name, with or without PREFIX. Raises UnknownName, which suggests the nearest."""
    systems = {
        system.name: (reference, system)
        for reference in load_references().values()
        for system in reference.systems
    }
    bare = name.removeprefix(PREFIX)
    if bare not in systems:
        raise UnknownName("published system", bare, systems)
    return systems[bare]
