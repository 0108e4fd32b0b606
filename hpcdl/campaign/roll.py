"""The jobs of an acceptance and its nodes, as they stand: asked of the executor, and written down as they change."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hpcdl import jobs, slurm
from hpcdl.acceptance.fleet import Fleet as Names
from hpcdl.acceptance.planning import read_kind
from hpcdl.campaign import fleet as fleets
from hpcdl.campaign.deciding import Fleet
from hpcdl.errors import HpcdlError
from hpcdl.jobs import Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.acceptance.rounds import RoundKind
    from hpcdl.campaign.executors import Executor
    from hpcdl.plan import Job
    from hpcdl.slurm import NodeWord
    from hpcdl.store import RunFolder

SOON_S = 2.0
# The job script's last word (jobscripts/): after it Slurm soon says that the job is over.
_LAST_WORD = b"hpcdl: the job ends with "
NEW = Standing(over=False, word="not submitted")
_NEVER = "never submitted"


@dataclass
class Roll:
    """What is known of runs and nodes. `stopped` is why nothing more should be submitted now, where there is a reason.

    A node that is down is waited for `patience_s`; `say` is told what changes.
    """

    folder: AcceptanceFolder
    executor: Executor
    say: Callable[[str], None]
    patience_s: float
    stopped: str = ""
    over: set[str] = field(default_factory=set)
    words: dict[str, NodeWord] | None = None
    _standings: dict[str, Standing] = field(default_factory=dict)
    _dropped: set[str] = field(default_factory=set)
    _jobs: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begun_utc = datetime.now(UTC)
        self.ask_soon()

    def ask_soon(self) -> None:
        """Something was submitted or has changed: ask at once, and then ever more seldom again."""
        self._pauses, self._asked_s, self._pause_s = slurm.waits_s(), -1e9, 0.0

    def submitted(self) -> list[RunFolder]:
        """The runs of this acceptance but those whose submission never came to anything."""
        return [run for run in self.folder.runs.runs() if self.standing(run).word != _NEVER]

    def standing(self, run: RunFolder) -> Standing:
        """Where a run stood when the executor was last asked."""
        return self._standings.get(run.run_id, NEW)

    def job(self, run: RunFolder) -> Job:
        """A run's job; it does not change, and is read once."""
        if run.run_id not in self._jobs:
            self._jobs[run.run_id] = run.job()
        return self._jobs[run.run_id]

    def live(self) -> list[RunFolder]:
        """The runs of which more may come."""
        return [run for run in self.submitted() if run.run_id not in self.over]

    def past(self) -> list[RoundKind]:
        """What the runs were for, oldest first, but those that were called off, or never got a node."""
        counted = [run for run in self.submitted() if run.run_id not in self.over or _counts(run)]
        return [kind for run in counted if (kind := read_kind(self.job(run))) is not None]

    def reached(self) -> frozenset[str]:
        """The nodes that have had their part in what is done together; or were asked for it by name, in vain."""
        nodes = Names(self.folder.fleet(), {})
        rounds = [
            run for run in self.submitted() if _counts(run) and read_kind(self.job(run)) in {"first", "added"}
        ]
        named = (node for run in rounds for node in self.named_by(run))
        seen = nodes.find_all(host for run in rounds for host in fleets.list_hosts(run))
        return frozenset((*named, *seen))

    def fleet(self) -> Fleet:
        """Who is to be accepted, and who can be had."""
        nodes = self.folder.fleet()
        words = self.words
        fit = {node for node in nodes if words is None or (node in words and words[node].is_fit)}
        return Fleet(nodes, frozenset(fit))

    def look(self, *, settle: bool = True) -> None:
        """Ask the executor where the runs stand and how the nodes are, if it is time to."""
        live = [run for run in self.folder.runs.runs() if run.run_id not in self.over]
        soon = any(_is_ending(run) for run in live)
        if time.monotonic() - self._asked_s < (min(SOON_S, self._pause_s) if soon else self._pause_s):
            return
        self._asked_s, self._pause_s = time.monotonic(), next(self._pauses)
        standings = self.executor.look(live) if live else {}
        if standings is None:
            self.say("Slurm does not answer; its jobs go on")
            return
        for run in live:
            self._take(run, standings.get(run.run_id, NEW), settle=settle)
        self._note_states()
        self._drop_stuck()

    def _take(self, run: RunFolder, standing: Standing, *, settle: bool) -> None:
        """What the executor says of a run, with all that follows from it."""
        job = self.job(run)
        age_s = (datetime.now(UTC) - job.created_utc).total_seconds()
        if standing.word == NEW.word and age_s > jobs.SETTLE_S:
            standing = replace(standing, over=True, word=_NEVER)
        before = self.standing(run)
        self._standings[run.run_id] = standing
        if standing.nodes:
            with contextlib.suppress(HpcdlError):
                fleets.join(self.folder, self.executor.name_nodes(standing.nodes))
        if standing.word != before.word:
            self.say(_tell(job, standing))
            self._pauses = slurm.waits_s()
        if standing.over:
            self._finish(run, standing, settle=settle)

    def _finish(self, run: RunFolder, standing: Standing, *, settle: bool) -> None:
        self.over.add(run.run_id)
        if standing.word == _NEVER:
            return
        if settle:
            jobs.settle(run, standing)
        jobs.keep_energy(run, standing)
        hosts = fleets.list_hosts(run)
        if not standing.nodes:
            fleets.join(self.folder, hosts)
        if not settle or run.run_id in self._dropped:
            return
        if standing.word.startswith("CANCELLED") or run.cancellation() is not None:
            self.stopped = f"run {run.run_id} was cancelled"
        elif not hosts:
            self.stopped = f"run {run.run_id} has left no records ({standing.word})"

    def _note_states(self) -> None:
        words = self.executor.words()
        if words is None:
            return
        self.words = dict(words)
        fleets.note_states(self.folder, words, {*self.folder.fleet(), *self._list_named()})

    def _list_named(self) -> tuple[str, ...]:
        """The nodes that runs under way have asked for by name."""
        return tuple(node for run in self.live() for node in self.named_by(run))

    def named_by(self, run: RunFolder) -> tuple[str, ...]:
        """The nodes that a run has asked for by name."""
        return self.executor.name_nodes(self.job(run).site.slurm.nodelist or "")

    def _drop_stuck(self) -> None:
        """A job that waits for a node that is down would wait for ever."""
        for run in self.live():
            if not self.standing(run).word.startswith("PENDING"):
                continue
            lost = [node for node in self.named_by(run) if self.is_given_up(node)]
            if lost:
                self.say(f"{', '.join(lost)} cannot be had: the job that waits for it is cancelled")
                self._dropped.add(run.run_id)
                with contextlib.suppress(HpcdlError):
                    self.executor.cancel(run)

    def is_given_up(self, node: str) -> bool:
        """It has been down for longer than anybody is ready to wait."""
        return fleets.unfit_since_s(self.folder, node, self._begun_utc) > self.patience_s


def _counts(run: RunFolder) -> bool:
    return run.cancellation() is None and bool(fleets.list_hosts(run))


def describe(job: Job) -> str:
    """What a job of an acceptance is for, in a few words."""
    tests = ", ".join(dict.fromkeys(launch.test.partition("-")[0] for launch in job.launches))
    return f"{read_kind(job) or 'job'}: {tests} on {job.nodes} node{'s' * (job.nodes > 1)}"


def _tell(job: Job, standing: Standing) -> str:
    number = f"job {standing.slurm_job_id}" if standing.slurm_job_id else f"run {job.run_id}"
    reason = f" ({standing.reason})" if standing.reason else ""
    return f"{number} ({describe(job)}): {standing.word}{reason}"


def _is_ending(run: RunFolder) -> bool:
    """The job's script has said its last word, and Slurm will soon say the same."""
    try:
        with run.output_path.open("rb") as file:
            file.seek(-200, 2) if run.output_path.stat().st_size > 200 else None
            return _LAST_WORD in file.read()
    except OSError:
        return False
