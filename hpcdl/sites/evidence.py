"""What a check of a site left behind, gathered: Slurm's words, what each node said of itself, and how the ranks met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake
from hpcdl.records import Missing

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.checks import Checked
    from hpcdl.jobs import Standing
    from hpcdl.plan import Job, Launch
    from hpcdl.records import Environment, Exit
    from hpcdl.slurm import NodeFacts
    from hpcdl.store import RunFolder

OUTPUT_BYTES = 20_000


@dataclass(frozen=True)
class Evidence:
    """`refusal` is why there is no job, in Slurm's words or hpcdl's; `said` the last word of the job's own output.

    `looks` are what the nodes are, one for each host that told it; `environment` is of the ranks that met.
    """

    job: Job
    facts: NodeFacts | None
    script: str
    refusal: str = ""
    standing: Standing | None = None
    looks: tuple[Checked, ...] = ()
    environment: Environment | None = None
    exits: tuple[Exit, ...] = ()
    said: str = ""

    @property
    def world(self) -> Launch:
        """The launch in which all ranks meet."""
        return self.job.launches[-1]

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(look.host for look in self.looks)

    @property
    def absence(self) -> str:
        """Why no node has said anything; empty where one has."""
        if self.looks:
            return ""
        if self.refusal:
            return "there was no job"
        word = self.standing.word if self.standing else "not over"
        return f"no node has said anything (job {word}){f': {self.said}' if self.said else ''}"

    @property
    def is_rehearsal(self) -> bool:
        """Hosts that share a boot id are one machine in disguise."""
        boots = [look.words.get("boot_id") for look in self.looks]
        return len(set(boots)) < len(boots)

    def number(self, look: Checked, name: str) -> float | None:
        """A number of a node; None where it could not be read."""
        value = look.numbers.get(name)
        return None if value is None or isinstance(value, Missing) else value


def gather(folder: RunFolder, standing: Standing, facts: NodeFacts | None) -> Evidence:
    """All that the records say, of a run that is over."""
    launches = folder.launches()
    first, last = (launches[0], launches[-1]) if launches else (None, None)
    looks = {} if first is None else {one.host: one for one in first.checks() if _is_look(one)}
    return Evidence(
        job=folder.job(),
        facts=facts,
        script=_read(folder.script_path),
        standing=standing,
        looks=tuple(looks[host] for host in sorted(looks)),
        environment=None if last is None else last.environment(),
        exits=() if last is None else tuple(last.exits()),
        said=read_last_word(folder),
    )


def _is_look(one: Checked) -> bool:
    return one.check == "identity" and one.outcome == "looked"


def read_last_word(folder: RunFolder) -> str:
    """The last line that the job's script or Slurm wrote where something went wrong; empty where nothing did."""
    lines = [
        line.strip()
        for path in (folder.script_path.with_name("slurm.out"), folder.output_path)
        for line in _read(path).splitlines()
        if line.strip()
    ]
    # Which launch ended how is told by the records themselves.
    telling = [
        line for line in lines if not line.startswith(("hpcdl: launch", "hpcdl: the job", "hpcdl: run"))
    ]
    return telling[-1].removeprefix("hpcdl: ") if telling else ""


def _read(path: Path) -> str:
    try:
        return path.read_bytes()[-OUTPUT_BYTES:].decode(errors="replace")
    except OSError:
        return ""


def require_check(job: Job) -> None:
    """Raise Mistake where a run is no check of a site."""
    from hpcdl.sites.proving import NAME

    if NAME not in job.tags:
        raise Mistake(
            f"run {job.run_id} is no check of a site.", do="List them: hpcdl list --where tags=site-check."
        )
