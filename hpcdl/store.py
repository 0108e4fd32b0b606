"""The directory of runs: claimed by mkdir, published atomically, read tolerantly.

    <store>/<run_id>/job.json, script.sbatch, submission.json, slurm.out, slurm-energy.json
                     NNN-<launch>/plan.json, environment.json, steps-<host>.jsonl,
                                  exit-<host>.jsonl, power-<host>.jsonl, checks-<host>.jsonl,
                                  topology-<host>.json, summary.json, probe.json, output.log, sampler.log

Only this module knows the names of the files.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import platformdirs
from pydantic import ValidationError

from hpcdl.checks import Checked
from hpcdl.durable import claim, publish, publish_record
from hpcdl.errors import Mistake
from hpcdl.metering import SlurmEnergy
from hpcdl.plan import Job, Launch
from hpcdl.probes import Probe
from hpcdl.records import Cancellation, Environment, Exit, Submission, Summary
from hpcdl.topology import NodeTopology

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from hpcdl.columns import StepTable
    from hpcdl.frozen import Frozen
    from hpcdl.trace import Trace

ENVIRONMENT_VARIABLE = "HPCDL_STORE"
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"

Record = TypeVar("Record", bound="Frozen")


def default_root(site_store: str | None = None) -> Path:
    """Where runs are kept: $HPCDL_STORE, else the site's `store`, else the user's data folder.

    Raises:
        Mistake: The path names an environment variable that is not set.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE) or site_store
    if named:
        path = os.path.expandvars(named)
        if "$" in path:
            raise Mistake(
                f"the store {named} names a variable that is not set.",
                do="Set it, or name another place with --store or $HPCDL_STORE.",
            )
        return Path(path).expanduser().absolute()
    return Path(platformdirs.user_data_dir("hpcdl")) / "runs"


def new_run_id(now: datetime | None = None) -> str:
    """An id that sorts by time: UTC date, UTC time, four random characters."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{''.join(secrets.choice(_ALPHABET) for _ in range(4))}"


@dataclass(frozen=True)
class Torn:
    """A record or a line that could not be read: counted and shown, never guessed at."""

    path: Path
    line: int | None
    reason: str


class LaunchFolder:
    """The files of one launch. Streams are one file for each host: parallel file systems dislike many small ones."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    @property
    def environment_path(self) -> Path:
        return self.path / "environment.json"

    @property
    def summary_path(self) -> Path:
        return self.path / "summary.json"

    @property
    def probe_path(self) -> Path:
        return self.path / "probe.json"

    def checks_path(self, host: str) -> Path:
        return self.path / f"checks-{host}.jsonl"

    def topology_path(self, host: str) -> Path:
        return self.path / f"topology-{host}.json"

    def steps_path(self, host: str) -> Path:
        return self.path / f"steps-{host}.jsonl"

    def exit_path(self, host: str) -> Path:
        return self.path / f"exit-{host}.jsonl"

    def power_path(self, host: str) -> Path:
        return self.path / f"power-{host}.jsonl"

    @property
    def sampler_output_path(self) -> Path:
        return self.path / "sampler.log"

    def stacks_path(self, rank: int) -> Path:
        return self.path / f"stacks-{rank}.txt"

    def rendezvous_path(self, restart: int) -> Path:
        return self.path / f"rendezvous-{restart}.json"

    @property
    def output_path(self) -> Path:
        return self.path / "output.log"

    def logs(self) -> list[Path]:
        """What the ranks printed, and the stacks of those that hung or crashed."""
        return [self.output_path, self.sampler_output_path, *sorted(self.path.glob("stacks-*.txt"))]

    def began(self) -> bool:
        """Somebody has started it: there is more here than the plan."""
        return any(path != self.plan_path for path in self.path.iterdir())

    def plan(self) -> Launch:
        """The launch as planned.

        Raises:
            Mistake: The plan is missing or cannot be read.
        """
        return _require(self.plan_path, Launch)

    def environment(self, torn: list[Torn] | None = None) -> Environment | None:
        return _read(self.environment_path, Environment, torn)

    def summary(self, torn: list[Torn] | None = None) -> Summary | None:
        return _read(self.summary_path, Summary, torn)

    def topologies(self, torn: list[Torn] | None = None) -> tuple[NodeTopology, ...]:
        """How its nodes are wired, by host; what cannot be read goes to `torn`."""
        paths = sorted(self.path.glob("topology-*.json"))
        found = (_read(path, NodeTopology, torn) for path in paths)
        return tuple(one for one in found if one is not None)

    def probe(self, torn: list[Torn] | None = None) -> Probe | None:
        return _read(self.probe_path, Probe, torn)

    def steps(self, torn: list[Torn] | None = None) -> StepTable:
        """All ranks' steps, by rank and step; unreadable lines go to `torn`."""
        from hpcdl.columns import join_tables, parse_steps  # numpy comes in only where steps are read

        paths = sorted(self.path.glob("steps-*.jsonl"))
        return join_tables([parse_steps(path.read_bytes(), self._tell(path, torn)) for path in paths])

    def traces(self, torn: list[Torn] | None = None) -> tuple[Trace, ...]:
        """What the samplers saw, one trace for each host; unreadable lines go to `torn`."""
        from hpcdl.trace import parse_trace

        paths = sorted(self.path.glob("power-*.jsonl"))
        found = (parse_trace(path.read_bytes(), self._tell(path, torn)) for path in paths)
        return tuple(trace for trace in found if trace is not None)

    @staticmethod
    def _tell(path: Path, torn: list[Torn] | None) -> Callable[[int, str], None]:
        return lambda line, reason: None if torn is None else torn.append(Torn(path, line, reason))

    def checks(self, torn: list[Torn] | None = None) -> list[Checked]:
        """What was looked at on each node, in its order; unreadable lines go to `torn`."""
        return list(self._lines("checks-*.jsonl", Checked, torn))

    def exits(self, torn: list[Torn] | None = None) -> list[Exit]:
        """How the ranks ended, by rank."""
        return sorted(self._lines("exit-*.jsonl", Exit, torn), key=lambda record: record.rank)

    def _lines(self, pattern: str, model: type[Record], torn: list[Torn] | None) -> Iterator[Record]:
        for path in sorted(self.path.glob(pattern)):
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                try:
                    yield model.model_validate_json(line)
                except ValidationError as problem:
                    if torn is not None:
                        torn.append(Torn(path, number, _first_reason(problem)))


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def job_path(self) -> Path:
        return self.path / "job.json"

    @property
    def script_path(self) -> Path:
        return self.path / "script.sbatch"

    @property
    def output_path(self) -> Path:
        return self.path / "slurm.out"

    @property
    def submission_path(self) -> Path:
        return self.path / "submission.json"

    @property
    def cancelled_path(self) -> Path:
        return self.path / "cancelled.json"

    @property
    def verified_path(self) -> Path:
        return self.path / "data-verified.json"

    @property
    def slurm_energy_path(self) -> Path:
        return self.path / "slurm-energy.json"

    def slurm_energy(self, torn: list[Torn] | None = None) -> SlurmEnergy | None:
        return _read(self.slurm_energy_path, SlurmEnergy, torn)

    def job(self) -> Job:
        """The job as planned.

        Raises:
            Mistake: The record is missing or cannot be read.
        """
        return _require(self.job_path, Job)

    def submission(self, torn: list[Torn] | None = None) -> Submission | None:
        return _read(self.submission_path, Submission, torn)

    def cancellation(self, torn: list[Torn] | None = None) -> Cancellation | None:
        return _read(self.cancelled_path, Cancellation, torn)

    def launches(self) -> list[LaunchFolder]:
        return [LaunchFolder(path.parent) for path in sorted(self.path.glob("*/plan.json"))]


def lay_out(job: Job, script: str | None) -> RunFolder:
    """Claim the run's folder and write down all that is known before the first launch.

    Raises:
        Mistake: The store cannot be written.
        Failure: The folder is there already: somebody else's run.
    """
    folder = RunFolder(Path(job.run_dir))
    claim(folder.path)
    publish_record(folder.job_path, job)
    if script is not None:
        publish(folder.script_path, script)
    for launch in job.launches:
        place = LaunchFolder(folder.path / launch.name)
        claim(place.path)
        publish_record(place.plan_path, launch)
    return folder


class Store:
    """All runs under one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, *, known: Container[str] = ()) -> list[str]:
        """The run ids, oldest first. A folder without a job record is somebody else's, and passed over.

        Folders that are `known` to be runs are not looked into.

        Raises:
            Mistake: The store cannot be read.
        """
        names = self.folders()
        return sorted(name for name in names if name in known or _is_run(f"{self.root}/{name}"))

    def folders(self) -> list[str]:
        """The names of all folders, runs or not.

        Raises:
            Mistake: The store cannot be read; one that is not there holds nothing.
        """
        try:
            with os.scandir(self.root) as entries:
                return [entry.name for entry in entries if entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as problem:
            raise Mistake(f"the store {self.root} cannot be read ({problem.strerror}).") from None

    def runs(self) -> list[RunFolder]:
        """Oldest first."""
        return [RunFolder(self.root / name) for name in self.names()]

    def find(self, text: str) -> RunFolder:
        """One run: see `stores.find_all`.

        Raises:
            Mistake: None fits, or more than one.
        """
        from hpcdl.stores import Stores

        return Stores([self]).find(text)


def _is_run(folder: str) -> bool:
    return os.path.exists(f"{folder}/job.json")  # noqa: PTH110 (never raises, and there may be many)


def _read(path: Path, model: type[Record], torn: list[Torn] | None) -> Record | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as problem:
        if torn is not None:
            torn.append(Torn(path, None, _first_reason(problem)))
        return None


def _require(path: Path, model: type[Record]) -> Record:
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as problem:
        raise Mistake(f"{path}: cannot be read ({problem.strerror}).") from None
    except ValidationError as problem:
        raise Mistake(
            f"{path}: this record cannot be read: {_first_reason(problem)}.",
            do="It may be torn, or come from another version of hpcdl.",
        ) from None


def _first_reason(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        detail = problem.errors()[0]
        place = ".".join(str(part) for part in detail["loc"])
        return f"{place}: {detail['msg']}" if place else detail["msg"]
    return str(problem)
