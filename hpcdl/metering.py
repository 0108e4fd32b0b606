"""What a sampler leaves behind: one stream of JSON lines per host, `power-<host>.jsonl`.

The first line says what is measured and what could not be; a line for each look follows; the last one says that
the sampler ended as it should. Energies are counted from the sampler's begin, unwrapped. Times are of the host's own
monotonic clock, which is that of its ranks too, and of no other host.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from hpcdl.frozen import Frozen
from hpcdl.records import Missing, Reading

# What a source covers. A module is a CPU and its GPU behind one meter (Grace Hopper); a node is all of it.
Covers = Literal["gpu", "package", "dram", "module", "node"]
PERIOD_S = 0.1


def complete_uuid(uuid: str) -> str:
    """A GPU's UUID as NVML writes it: torch leaves 'GPU-' out."""
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


class Source(Frozen):
    """One thing whose power or energy is read, by one sensor.

    `name` is unique on its host. `counter` says that energy is counted, in steps of `counter_step_j`. `power` says
    what its power readings are: of an instant, of an average over `averaging_s`, or what nobody has said.
    `update_s` is how often it changes, as measured when the sampler began: the counter where there is one, else the
    power; `power_update_s` is that of the power beside a counter. `limit_w` is the power limit in force.
    `shared` is why its energy is not the job's alone. `basis` names the specification that an estimate rests on:
    where it is not empty, nothing was measured.
    """

    name: str
    sensor: str
    covers: Covers
    product: str = ""
    uuid: str | None = None
    counter: bool = False
    counter_step_j: float | None = None
    power: Literal["instant", "average", "unspecified"] | None = None
    update_s: Reading = Missing(missing="not measured")
    power_update_s: Reading = Missing(missing="not measured")
    averaging_s: Reading = Missing(missing="not known")
    limit_w: Reading = Missing(missing="not read")
    default_limit_w: Reading = Missing(missing="not read")
    shared: str | None = None
    basis: str = ""

    @property
    def estimated(self) -> bool:
        """Whether its readings follow from a specification and not from a measurement."""
        return bool(self.basis)

    @property
    def metered(self) -> bool:
        """Whether it has energy or power at all; a sensor may only have named it."""
        return self.counter or self.power is not None or self.estimated


class Unavailable(Frozen):
    """A sensor, or one source of it, that could not be read here: why, and what would open it.

    `covers` is what a source would have covered beside others of its sensor that are read.
    """

    sensor: str
    reason: str
    do: str = ""
    covers: Covers | None = None


class StepEnergy(Frozen):
    """What Slurm counted for one step of a job: over all of its nodes, whole, and from its begin to its end."""

    step: int
    energy_j: Annotated[float, Field(gt=0)]
    elapsed_s: Annotated[float, Field(gt=0)]


class SlurmEnergy(Frozen):
    """Slurm's own accounts of a job's energy, asked for once the job was over: `slurm-energy.json`."""

    schema_version: Literal[1] = 1
    steps: tuple[StepEnergy, ...]


class Opening(Frozen):
    """The first line of a stream."""

    kind: Literal["opening"] = "opening"
    schema_version: Literal[1] = 1
    host: str
    boot_id: str
    at_s: float
    period_s: Annotated[float, Field(gt=0)]
    sources: tuple[Source, ...]
    unavailable: tuple[Unavailable, ...] = ()


class Look(Frozen):
    """One look at one source. What it does not have is absent (None); what could not be read is missing.

    `energy_j` counts from the sampler's begin. `power_low_w` and `power_high_w` bound an estimate. Utilisations are
    shares of one. `reasons` are those that slow the device down now, as `hpcdl.power.clocks` names them.
    `read_at_s` is when its readings were taken, on the same clock, where that was not at the time of the look.
    """

    energy_j: Reading | None = None
    power_w: Reading | None = None
    power_average_w: Reading | None = None
    power_low_w: Reading | None = None
    power_high_w: Reading | None = None
    utilisation: Reading | None = None
    memory_utilisation: Reading | None = None
    memory_used_bytes: Reading | None = None
    sm_clock_mhz: Reading | None = None
    memory_clock_mhz: Reading | None = None
    temperature_c: Reading | None = None
    reasons: tuple[str, ...] | Missing | None = None
    pcie_generation: Reading | None = None
    pcie_width: Reading | None = None
    ecc_errors: Reading | None = None
    processes: Reading | None = None
    read_at_s: float | None = None


class Sample(Frozen):
    """All sources at one time. `took_s` is how long the looking took."""

    kind: Literal["sample"] = "sample"
    at_s: float
    took_s: float
    looks: dict[str, Look]


class Closing(Frozen):
    """The last line of a stream; without it the sampler died."""

    kind: Literal["closing"] = "closing"
    at_s: float
    reason: str


Line = Opening | Sample | Closing
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
