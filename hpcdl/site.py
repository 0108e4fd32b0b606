"""A site: what the cluster is, and how its people want jobs to look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

import platformdirs
from pydantic import Field, field_validator, model_validator

from hpcdl import baseline
from hpcdl.errors import Mistake
from hpcdl.frozen import Frozen, parse, read_toml
from hpcdl.prices import Cost
from hpcdl.spec import TUNABLE, Train

Runtime = Literal["apptainer", "pyxis"]

ENVIRONMENT_VARIABLE = "HPCDL_SITE"
UNNAMED = "unnamed"
# With these, Apptainer starts without SLURM_PROCID and its like.
EMPTYING = frozenset({"-e", "--cleanenv", "-C", "--containall"})


def _refuse_control_characters(text: str) -> str:
    # A newline in a directive would be a second directive.
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("control characters cannot stand in a batch directive")
    return text


class Slurm(Frozen):
    """What goes into the batch directives; what is left out is left to Slurm's own defaults."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    dependency: str | None = None
    memory: str | None = None
    walltime: str | None = None
    signal: str = "B:USR2@60"
    exclusive: bool = True
    requeue: bool = False
    export: str = "NONE"
    pmi: str | None = None
    cpu_bind: str | None = None
    template: str | None = None
    options: dict[str, str | bool] = Field(default_factory=dict)

    @field_validator("*", mode="after")
    @classmethod
    def _printable(cls, value: object) -> object:
        return _refuse_control_characters(value) if isinstance(value, str) else value

    @field_validator("options", mode="after")
    @classmethod
    def _printable_options(cls, options: dict[str, str | bool]) -> dict[str, str | bool]:
        for name, value in options.items():
            if not name.replace("-", "").isalnum():
                raise ValueError(f"{name!r} is not the name of an sbatch option")
            _refuse_control_characters(str(value))
        return options


class Node(Frozen):
    """One node of the partition. `gpu` is the GPU's name, recorded with each job for its readers.

    Each of its `cores` runs `threads_per_core` hardware threads, which Slurm calls CPUs.
    """

    cores: Annotated[int, Field(gt=0)] | None = None
    threads_per_core: Annotated[int, Field(gt=0)] | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    gpu: str | None = None
    network: str | None = None
    tasks_per_node: Annotated[int, Field(gt=0)] | None = None


class Container(Frozen):
    """The image that ranks run in, and which of the two runtimes of HPC starts it.

    `image` is a path of a .sif (Apptainer) or .sqsh file (pyxis), or a name that the runtime can pull
    (docker://…, nvcr.io#nvidia/pytorch:…). `mounts` are HOST or HOST:INSIDE or HOST:INSIDE:ro; the folder that holds
    the runs and that of the data are mounted always. `options` are given to the runtime as they are. `python` is the
    one inside.
    """

    runtime: Runtime
    image: Annotated[str, Field(min_length=1)]
    mounts: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    python: str = "python3"

    @property
    def image_is_path(self) -> bool:
        """Whether the image is a file or folder, by its first character; otherwise the runtime is to pull it."""
        return self.image[0] in "/~$"

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if self.runtime == "apptainer" and not self.image_is_path and "://" not in self.image:
            raise ValueError(
                f"image {self.image!r} is neither an absolute path nor a name such as docker://…; "
                "where a job starts nobody knows, so a path begins with /, ~ or $NAME"
            )
        for option in self.options:
            if option.partition("=")[0] in EMPTYING:
                raise ValueError(
                    f"{option} takes away the environment from which a rank knows its place; leave it out"
                )
        return self


class Setup(Frozen):
    """How a job on this site comes to its software. `lines` are shell, written by the site, and taken as they are.

    `spack` is an environment of Spack, by name or by the path of its folder; `spack_root` is where Spack itself is
    installed, where the job's shell does not have it.
    """

    modules: tuple[str, ...] = ()
    spack: str | None = None
    spack_root: str | None = None
    venv: str | None = None
    python: str | None = None
    lines: tuple[str, ...] = ()
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(
        default_factory=dict
    )


class Power(Frozen):
    """What the site knows of its power.

    `pue` is the building's power usage effectiveness. `cpu_tdp_w` and `cpu_idle_w` are of one CPU package, for where
    nothing measures it. `idle_w` is what `hpcdl power idle` has measured: host -> source -> W.
    """

    pue: Annotated[float, Field(ge=1, le=5)] | None = None
    cpu_tdp_w: Annotated[float, Field(gt=0)] | None = None
    cpu_idle_w: Annotated[float, Field(ge=0)] | None = None
    idle_w: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = Field(default_factory=dict)


class Site(Frozen):
    """The content of a site file. `tuned` is what `hpcdl tune` found: network -> setting of [train] -> value."""

    name: str = UNNAMED
    store: str | None = None
    slurm: Slurm = Slurm()
    node: Node = Node()
    setup: Setup = Setup()
    container: Container | None = None
    tuned: dict[str, dict[str, bool | int | float | str]] = Field(default_factory=dict)
    power: Power = Power()
    cost: Cost = Cost()

    @model_validator(mode="after")
    def _one_python(self) -> Self:
        named = [name for name in ("venv", "spack", "python") if getattr(self.setup, name) is not None]
        if self.container is not None and named:
            raise ValueError(
                f"[setup] {' and '.join(named)} is of the host, and ranks run in the image of [container], which has "
                "a Python of its own: name that as [container] python, and leave the other out"
            )
        return self

    @field_validator("tuned", mode="after")
    @classmethod
    def _settings_of_speed(
        cls, tuned: dict[str, dict[str, bool | int | float | str]]
    ) -> dict[str, dict[str, bool | int | float | str]]:
        for network, settings in tuned.items():
            unknown = settings.keys() - TUNABLE - {"device"}
            if unknown:
                raise ValueError(
                    f"{min(unknown)!r} is no setting of speed; known: {', '.join(sorted(TUNABLE))}"
                )
            Train.model_validate({"model": network, **settings})
        return tuned

    @model_validator(mode="after")
    def _one_pue(self) -> Self:
        named, plain = self.cost.pue, self.power.pue
        if named is not None and plain is not None and named.value != plain:
            raise ValueError(
                f"pue is {named.value:g} in [cost] and {plain:g} in [power]: a building has one; name it in [cost]"
            )
        return self

    @property
    def metered(self) -> Power:
        """What is known of power, with the PUE of [cost] where only that table names it."""
        if self.cost.pue is None:
            return self.power
        return self.power.model_copy(update={"pue": self.cost.pue.value})

    @property
    def kind(self) -> Literal["gpu", "cpu"]:
        """GPU where the site says that its nodes have some."""
        return "gpu" if self.node.gpus else "cpu"


def default_path() -> Path:
    """Where the site file is looked for: $HPCDL_SITE, else the user's configuration folder."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_config_dir("hpcdl")) / "site.toml"


def load(path: Path | None = None) -> tuple[Site, Path | None]:
    """The site, and the file that it came from (None: no file, all defaults).

    What `hpcdl power idle` has kept beside the file belongs to the site; the file's own word stands above it.

    Raises:
        Mistake: A file was named and is missing, or what it says cannot be used.
    """
    chosen = path or default_path()
    if path is None and ENVIRONMENT_VARIABLE not in os.environ and not chosen.exists():
        return _with_baseline(Site(), chosen), None
    if not chosen.is_file():
        raise Mistake(f"there is no site file {chosen}.", do="Name one with --site or $HPCDL_SITE.")
    return _with_baseline(parse(Site, read_toml(chosen), where=str(chosen)), chosen), chosen


def _with_baseline(site: Site, path: Path) -> Site:
    measured_w = baseline.read(baseline.path_beside(path)).idle_w
    if not measured_w:
        return site
    named_w = site.power.idle_w
    hosts = measured_w.keys() | named_w.keys()
    idle_w = {host: measured_w.get(host, {}) | named_w.get(host, {}) for host in sorted(hosts)}
    return site.model_copy(update={"power": site.power.model_copy(update={"idle_w": idle_w})})
