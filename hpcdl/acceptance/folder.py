"""The folder of an acceptance: what was asked, which nodes joined, its jobs. Only here are the files' names known.

<store>/acceptances/<id>/acceptance.json   what was asked; never changes
                         fleet.jsonl       nodes, as they joined
                         states.jsonl      what Slurm said of nodes, as it was asked
                         references.toml   the baseline that it is held against, where there is one
                         runs/<run_id>/    the jobs, as any run is kept
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from hpcdl.acceptance.suite import Suite
from hpcdl.durable import Appender, claim, publish_record
from hpcdl.errors import Mistake
from hpcdl.frozen import Frozen, Model
from hpcdl.site import Site
from hpcdl.store import Store, default_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ACCEPTANCES = "acceptances"


class Acceptance(Frozen):
    """What was asked: `acceptance.json`. `nodes` is how many are to be accepted; None: all that join."""

    schema_version: Literal[1] = 1
    accept_id: str
    created_utc: datetime
    suite: Suite
    suite_file: str
    suite_digest: str
    executor: Literal["slurm", "local"]
    per_node_jobs: bool = False
    nodes: int | None = None
    site: Site
    sources: dict[str, str] = Field(default_factory=dict)
    hpcdl: str


class Joined(Frozen):
    """A node that is to be accepted."""

    node: str
    joined_utc: datetime


class NodeState(Frozen):
    """What Slurm said of a node: its state in Slurm's words, and the reason that somebody gave."""

    node: str
    state: str
    reason: str = ""
    seen_utc: datetime


class AcceptanceFolder:
    """The files of one acceptance."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def accept_id(self) -> str:
        return self.path.name

    @property
    def asked_path(self) -> Path:
        return self.path / "acceptance.json"

    @property
    def fleet_path(self) -> Path:
        return self.path / "fleet.jsonl"

    @property
    def states_path(self) -> Path:
        return self.path / "states.jsonl"

    @property
    def references_path(self) -> Path:
        return self.path / "references.toml"

    @property
    def runs(self) -> Store:
        """The jobs of this acceptance, oldest first."""
        return Store(self.path / "runs")

    def asked(self) -> Acceptance:
        """What was asked.

        Raises:
            Mistake: The record is missing or cannot be read.
        """
        try:
            return Acceptance.model_validate_json(self.asked_path.read_bytes())
        except OSError as problem:
            raise Mistake(f"{self.asked_path}: cannot be read ({problem.strerror}).") from None
        except ValidationError as problem:
            raise Mistake(
                f"{self.asked_path}: this is no acceptance: {problem.errors()[0]['msg']}."
            ) from None

    def fleet(self) -> tuple[str, ...]:
        """The nodes that joined, in their order, each once."""
        return tuple(dict.fromkeys(joined.node for joined in self._lines(self.fleet_path, Joined)))

    def states(self) -> dict[str, NodeState]:
        """What Slurm last said of each node."""
        return {state.node: state for state in self._lines(self.states_path, NodeState)}

    def add(self, path: Path, records: Iterable[Frozen]) -> None:
        """Append records to one of the two streams."""
        appender = Appender(path)
        for record in records:
            appender.add(record)
        appender.flush()

    @staticmethod
    def _lines(path: Path, model: type[Model]) -> Iterator[Model]:
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield model.model_validate_json(line)
            except ValidationError:
                continue  # torn by a crash while it was written


def lay_out(asked: Acceptance, root: Path) -> AcceptanceFolder:
    """Claim the folder of a new acceptance below the store `root`.

    Raises:
        Mistake: The store cannot be written.
        Failure: The folder is there already.
    """
    folder = AcceptanceFolder(root / ACCEPTANCES / asked.accept_id)
    claim(folder.path)
    publish_record(folder.asked_path, asked)
    return folder


def list_acceptances(root: Path | None = None) -> list[AcceptanceFolder]:
    """Those of a store, oldest first."""
    place = (root or default_root()) / ACCEPTANCES
    return [AcceptanceFolder(path.parent) for path in sorted(place.glob("*/acceptance.json"))]
