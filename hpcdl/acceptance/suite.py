"""A suite: what is tested, and what is required of it. Data, checked against a schema; nothing in it is evaluated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hpcdl import networks
from hpcdl.acceptance import metrics
from hpcdl.checks import CheckName
from hpcdl.errors import HpcdlError, Mistake, UnknownName
from hpcdl.frozen import Frozen, parse, read_toml
from hpcdl.spec import Count, Duration, Engine, Name, Positive, Transport, digest, read_fraction

Severity = Literal["required", "advisory"]
# With what a number is compared: with itself as it stands, or as a part of another.
Of = Literal["fleet", "reference", "expectation"]
Threshold = float | str
Confidence = Annotated[float, Field(gt=0.5, lt=1), BeforeValidator(read_fraction)]


def _known_network(name: str) -> str:
    try:
        networks.find(name)
    except UnknownName as unknown:
        raise ValueError(str(unknown).rstrip(".")) from None
    return name


Model = Annotated[str, BeforeValidator(_known_network)]


class NodeTest(Frozen):
    """Every node by itself, all at the same time. `batch` and `steps` are of each network, per rank."""

    checks: Annotated[tuple[CheckName, ...], Field(min_length=1)] = (
        "identity",
        "arithmetic",
        "matrix",
        "memory",
        "train",
        "health",
    )
    models: Annotated[tuple[Model, ...], Field(min_length=1)] = ("lenet",)
    batch: Positive | None = None
    steps: Positive = 30
    warmup: Count = 5
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    threads: Positive | None = None
    device: Literal["auto", "cpu", "gpu"] = "auto"
    data_dir: str | None = None
    soak: Duration | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.data_dir is None and (needing := {"storage", "data", "decode"} & set(self.checks)):
            raise ValueError(f"check {min(needing)!r} needs data_dir")
        if ("soak" in self.checks) != (self.soak is not None):
            raise ValueError("check 'soak' and its length, soak = '2h', belong together")
        return self


class LinkTest(Frozen):
    """Pairs in tournament rounds, and allreduce over all nodes and over parts of them."""

    model: Model = "lenet"
    engine: Engine = "horovod"
    transport: Transport = "auto"
    groups: tuple[Literal["all", "halves", "switches"], ...] = ("all",)


class ScalingTest(Frozen):
    """One node, then all, then one again. `batch` is per rank."""

    model: Model = "alexnet"
    batch: Positive | None = None
    steps: Positive = 60
    repeat: Positive = 1
    engine: Engine = "horovod"
    transport: Transport = "auto"


class ConvergenceTest(Frozen):
    """LeNet learns handwritten digits on all nodes together."""

    epochs: Positive = 3
    global_batch: Positive = 64
    engine: Engine = "horovod"
    transport: Transport = "auto"


class Tests(Frozen):
    """What is run. What is left out is not tested, and then nothing can be required of it."""

    node: NodeTest | None = None
    links: LinkTest | None = None
    scaling: ScalingTest | None = None
    convergence: ConvergenceTest | None = None


class Policy(Frozen):
    """How sure a verdict is, and how hard it is worked for.

    `confidence` is of one requirement's interval. `false_alarms` is how many there may be, on average, in one
    acceptance of a healthy fleet, over all comparisons together: where these are many, each has to be surer.
    `reruns` is how many further jobs may follow for what is undecided; with `confirm`, what would fail by a timed
    number is measured again in a job of its own before it does.
    """

    confidence: Confidence = 0.95
    false_alarms: Annotated[float, Field(gt=0, le=1)] = 0.05
    reruns: Annotated[int, Field(ge=0, le=20)] = 2
    confirm: bool = True


class Criterion(Frozen):
    """One requirement: of which number, whose, and where the line is.

    A threshold is a number with its unit ('1200 images/s', '85 °C'), or a part ('95 %') `of` the fleet's median, of a
    reference (a baseline file) or of what a model expects. `equals` is a word or number as it must be, or 'fleet':
    as most of the fleet's are. `gpu` restricts it to devices whose name contains that. With `where_present` it does not
    apply to a fleet that has no such hardware; without, that is a lack of evidence.
    """

    name: Name
    metric: str
    at_least: Threshold | None = None
    at_most: Threshold | None = None
    equals: Threshold | None = None
    of: Of | None = None
    gpu: str | None = None
    where_present: bool = False
    severity: Severity = "required"
    confidence: Confidence | None = None
    why: str = ""

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str) -> str:
        try:
            metrics.find(name)
        except HpcdlError as unknown:
            raise ValueError(str(unknown).rstrip(".")) from None
        return name

    @model_validator(mode="after")
    def _one_line(self) -> Self:
        given = [key for key in ("at_least", "at_most", "equals") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError("give one of at_least, at_most and equals")
        if self.equals is not None:
            if self.of is not None:
                raise ValueError(
                    "equals needs no 'of': write equals = \"fleet\" for what most of the fleet have"
                )
            if self.equals != "fleet" and self.what.dimension != "text":
                _require_quantity(self.equals, self.what, self.metric)
            return self
        if self.what.dimension == "text":
            raise ValueError(f"{self.metric} is a word: ask for equals")
        try:
            _refuse_multiple(self)
            _ = self.threshold
        except HpcdlError as problem:
            raise ValueError(str(problem).rstrip(".")) from None
        return self

    @property
    def what(self) -> metrics.Metric:
        """The metric."""
        return metrics.find(self.metric)

    @property
    def is_floor(self) -> bool:
        """Whether more is better: at_least."""
        return self.at_least is not None

    @property
    def threshold(self) -> float:
        """The line in hpcdl's own unit; a part of 1 where it is `of` something.

        Raises:
            Mistake: It has the wrong unit, or none.
        """
        given = self.at_least if self.at_least is not None else self.at_most
        return read_part(given) if self.of else read_quantity(given, self.what, where=self.metric)


def _refuse_multiple(criterion: Criterion) -> None:
    """'5' of a spread, or '95' of the fleet's median, is meant as per cent, and would be 500 or 9,500 of them."""
    given = criterion.at_least if criterion.at_least is not None else criterion.at_most
    found = _QUANTITY.fullmatch(str(given))
    # A latency may be some times the fleet's.
    most = MOST_TIMES if criterion.of else 1.0 if criterion.what.dimension == "ratio" else None
    if found is not None and not found[2] and most is not None and float(found[1]) > most:
        times = f"{float(found[1]):g}"
        raise Mistake(f"{times} would be {times} times the whole: is '{times} %' meant?")


def _require_quantity(given: Threshold, metric: metrics.Metric, where: str) -> None:
    try:
        read_quantity(given, metric, where=where)
    except HpcdlError as problem:
        raise ValueError(str(problem).rstrip(".")) from None


# Of something else, without a unit.
MOST_TIMES = 10.0
_QUANTITY = re.compile(r"\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(\S*)\s*")


def read_quantity(given: float | str | None, metric: metrics.Metric, *, where: str = "") -> float:
    """'1200 images/s' in hpcdl's own unit. A bare number is one where the metric has no unit.

    `where` is what a message calls the metric: with its network's name.

    Raises:
        Mistake: No number, or a unit that is not the metric's.
    """
    found = _QUANTITY.fullmatch(str(given))
    if found is None:
        raise Mistake(f"{given!r} is no number with a unit.", do=f"Write it as '12 {metric.dimension}'.")
    known = metrics.UNITS[metric.dimension]
    if found[2] not in known:
        if not found[2]:
            raise Mistake(
                f"{given!r} has no unit.",
                do=f"{where or metric.name} is in {', '.join(filter(None, known))}.",
            )
        raise UnknownName("unit", found[2], filter(None, known), where=where or metric.name)
    return float(found[1]) * known[found[2]]


def read_part(given: float | str | None) -> float:
    """'95 %' or 0.95 as a part of 1.

    Raises:
        Mistake: Neither.
    """
    found = _QUANTITY.fullmatch(str(given))
    if found is None or found[2] not in {"", "%"}:
        raise Mistake(f"{given!r} is no part of something.", do="Write '95 %' or 0.95.")
    return float(found[1]) * (0.01 if found[2] else 1.0)


class Suite(Frozen):
    """The content of a suite's file, with what it builds on."""

    name: Name
    about: str = ""
    tests: Tests = Tests()
    policy: Policy = Policy()
    criteria: tuple[Criterion, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"there are two criteria named {double!r}")
        if not names:
            raise ValueError("a suite without criteria would accept anything")
        for criterion in self.criteria:
            _require_tested(criterion, self.tests)
        return self

    @property
    def digest(self) -> str:
        """By which a suite that was changed between two jobs of one acceptance is noticed."""
        return digest(self.model_dump(mode="json"))


def _require_tested(criterion: Criterion, tests: Tests) -> None:
    """What nobody measures can never be passed."""
    needed = criterion.what.test
    if getattr(tests, needed) is None:
        raise ValueError(f"criterion {criterion.name!r} needs [tests.{needed}], and there is none")
    parts = criterion.metric.split(".")
    if needed == "node" and tests.node is not None and parts[0] != "node":
        if parts[0] not in tests.node.checks:
            raise ValueError(f"criterion {criterion.name!r} needs check {parts[0]!r} in [tests.node]")
        if len(parts) == 3 and parts[1] not in tests.node.models:
            raise ValueError(
                f"criterion {criterion.name!r} needs {parts[1]!r} among the models of [tests.node]"
            )


def suites_folder() -> Path:
    """The built-in suites: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "_benchmarks" / "suites"
    return inside if inside.is_dir() else package.parent / "benchmarks" / "suites"


def shipped_suites() -> dict[str, Path]:
    """Name -> file."""
    return {path.stem: path for path in sorted(suites_folder().glob("*.toml"))}


def find_suite(text: str) -> Path:
    """A built-in suite by name, or a file of one's own by path.

    Raises:
        UnknownName: Neither.
    """
    shipped = shipped_suites()
    if text in shipped:
        return shipped[text]
    if text.endswith(".toml") or "/" in text or Path(text).is_file():
        return Path(text)
    if Path(text).is_dir():
        raise Mistake(
            f"{text} is a folder.", do="Name a suite's file in it, or one of: " + ", ".join(shipped) + "."
        )
    raise UnknownName("suite", text, shipped)


def load(path: Path) -> Suite:
    """The suite of a file; what it `extends` (a built-in suite's name, or a file beside it) lies below it.

    Tables are laid over tables key by key; a criterion replaces the one of the same name.

    Raises:
        Mistake: Names the file, the key, and what is allowed.
    """
    tables = _read(path, ())
    try:
        return parse(Suite, tables, where=str(path))
    except Mistake as mistake:
        raise Mistake(_name_criteria(mistake.what, tables), do=mistake.do) from None


def _name_criteria(message: str, tables: dict[str, Any]) -> str:
    """Criteria by their names: a number would count those of the suites below as well."""
    criteria = tables.get("criteria")

    def name(found: re.Match[str]) -> str:
        one = criteria[int(found[1])] if isinstance(criteria, list) else None
        named = one.get("name") if isinstance(one, dict) else None
        return f"criteria.{named}" if isinstance(named, str) else found[0]

    return re.sub(r"\bcriteria\.(\d+)\b", name, message)


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path in above:
        raise Mistake(f"{path}: this suite extends itself, by way of {above[-1]}.")
    tables = read_toml(path)
    below = tables.pop("extends", None)
    if below is None:
        return tables
    if not isinstance(below, str):
        raise Mistake(f"{path}: extends: the name of one suite is needed.")
    found = find_suite(below)
    if below not in shipped_suites():
        found = path.parent / found
    return _lay_over(_read(found, (*above, path)), tables)


def _lay_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = below | above
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = _lay_over(below[key], above[key])
        elif key == "criteria" and isinstance(below[key], list) and isinstance(above[key], list):
            merged[key] = _replace(below[key], above[key])
    return merged


def _replace(below: list[Any], above: list[Any]) -> list[Any]:
    """The lower criteria in their order, those of the same name replaced; then the new ones."""
    named = {one.get("name"): one for one in above if isinstance(one, dict)}
    kept = [named.pop(one.get("name"), one) if isinstance(one, dict) else one for one in below]
    return [*kept, *(one for one in above if not isinstance(one, dict) or one.get("name") in named)]
