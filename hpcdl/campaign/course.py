"""The course of an acceptance: look at its folder, make the next job or end. Its state is nothing but that folder."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from hpcdl import jobs, slurm
from hpcdl.acceptance.gathering import gather
from hpcdl.acceptance.judging import find_open, judge
from hpcdl.acceptance.planning import Round, list_tests, plan_round, read_kind
from hpcdl.campaign import fleet as fleets
from hpcdl.campaign.bisecting import find_slow_group
from hpcdl.campaign.deciding import Doubt, Fleet, decide, list_single
from hpcdl.campaign.sight import Eye, Sight, list_columns
from hpcdl.errors import Failure, HpcdlError
from hpcdl.jobs import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.acceptance.evidence import Evidence
    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.acceptance.planning import RoundKind
    from hpcdl.acceptance.references import References
    from hpcdl.acceptance.verdict import Verdict
    from hpcdl.campaign.executors import Executor
    from hpcdl.plan import Job
    from hpcdl.slurm import NodeWord
    from hpcdl.store import RunFolder

TICK_S = 0.5
SOON_S = 2.0
AT_ONCE = 16
PATIENCE_S = 3600.0
# The job script's last word (jobscripts/): after it Slurm soon says that the job is over.
_LAST_WORD = b"hpcdl: the job ends with "


class Watcher(Protocol):
    """Whoever looks on."""

    def show(self, sight: Sight) -> None: ...

    def say(self, words: str) -> None: ...


@dataclass(frozen=True)
class Manner:
    """How a course is gone: jobs of one node at once, and for how long a node that is down is waited for, s."""

    at_once: int = AT_ONCE
    patience_s: float = PATIENCE_S


@dataclass
class Course:
    """One acceptance, under way in this process."""

    folder: AcceptanceFolder
    executor: Executor
    watcher: Watcher
    references: References | None = None
    manner: Manner = Manner()
    _over: set[str] = field(default_factory=set)
    _standings: dict[str, Standing] = field(default_factory=dict)
    _words: dict[str, NodeWord] | None = None
    _stopped: str = ""

    def __post_init__(self) -> None:
        self.asked = self.folder.asked()
        self._begun_utc = datetime.now(UTC)
        self._eye = Eye(list_columns(self.asked.suite))
        self._pauses, self._asked_s, self._pause_s = slurm.waits_s(), -1e9, 0.0
        self._jobs: dict[str, Job] = {}

    def go(self, added: Round | None = None) -> Verdict:
        """To the end: until nothing that could follow would tell more.

        Args:
            added: A round for nodes that join now.

        Raises:
            Failure: No node has taken part.
            Mistake: A job cannot be planned, or Slurm refuses it.
            KeyboardInterrupt: A person looks away. Jobs of Slurm go on; what runs here is ended, and kept.
        """
        try:
            self._look(settle=False)
            if added is not None:
                self._submit(added)
            while self._act():
                self._show()
                self._rest()
                self._look()
            self._show()
        finally:
            if self.executor.close():
                self.watcher.say("the ranks are ended; what was measured is kept")
        return self.assess(final=not self._stopped)

    def assess(self, *, final: bool = False) -> Verdict:
        """The verdict on what has been seen up to now.

        Raises:
            Failure: No node has taken part.
        """
        nodes = self.folder.fleet()
        if not nodes:
            why = self._stopped or "its first job has not begun"
            raise Failure(
                f"no node has taken part in acceptance {self.folder.accept_id}: {why}.",
                do=f"See hpcdl status --store {self.folder.runs.root}; go on with hpcdl accept resume "
                f"{self.folder.accept_id}.",
            )
        return judge(self.asked.suite, self._gather(), self.references, final=final)

    def _gather(self) -> Evidence:
        return gather(self._submitted(), self.folder.fleet(), states=self.folder.states())

    # ---- What is there ----

    def _submitted(self) -> list[RunFolder]:
        """The runs of this acceptance but those whose submission never came to anything."""
        return [run for run in self.folder.runs.runs() if self._standings.get(run.run_id, _NEW).word != _NEVER]

    def _job(self, run: RunFolder) -> Job:
        if run.run_id not in self._jobs:
            self._jobs[run.run_id] = run.job()
        return self._jobs[run.run_id]

    def _live(self) -> list[RunFolder]:
        return [run for run in self._submitted() if run.run_id not in self._over]

    def _past(self) -> list[RoundKind]:
        kinds = (read_kind(self._job(run)) for run in self._submitted())
        return [kind for kind in kinds if kind is not None]

    def _fleet(self) -> Fleet:
        nodes = self.folder.fleet()
        words = self._words
        fit = {node for node in nodes if words is None or (node in words and words[node].is_fit)}
        return Fleet(nodes, frozenset(fit))

    def _look(self, *, settle: bool = True) -> None:
        """Ask the executor where the runs stand and how the nodes are, if it is time to."""
        live = [run for run in self.folder.runs.runs() if run.run_id not in self._over]
        if time.monotonic() - self._asked_s < self._pause_s and not any(_is_ending(run) for run in live):
            return
        soon = any(_is_ending(run) for run in live)
        self._asked_s, self._pause_s = time.monotonic(), SOON_S if soon else next(self._pauses)
        standings = self.executor.look(live) if live else {}
        if standings is None:
            self.watcher.say("Slurm does not answer; its jobs go on")
            return
        for run in live:
            self._take(run, standings.get(run.run_id, _NEW), settle=settle)
        self._note_states()
        self._drop_stuck()

    def _take(self, run: RunFolder, standing: Standing, *, settle: bool) -> None:
        """What the executor says of a run, with all that follows from it."""
        job = self._job(run)
        if standing.word == _NEW.word and (datetime.now(UTC) - job.created_utc).total_seconds() > jobs.SETTLE_S:
            standing = replace(standing, over=True, word=_NEVER)
        before = self._standings.get(run.run_id, _NEW)
        self._standings[run.run_id] = standing
        if standing.nodes:
            with contextlib.suppress(HpcdlError):
                fleets.join(self.folder, self.executor.name_nodes(standing.nodes))
        if standing.word != before.word:
            self.watcher.say(_tell(job, standing))
            self._pauses = slurm.waits_s()
        if standing.over:
            self._finish(run, standing, settle=settle)

    def _finish(self, run: RunFolder, standing: Standing, *, settle: bool) -> None:
        self._over.add(run.run_id)
        if standing.word == _NEVER:
            return
        if settle:
            jobs.settle(run, standing)
        jobs.keep_energy(run, standing)
        hosts = fleets.list_hosts(run)
        if not standing.nodes:
            fleets.join(self.folder, hosts)
        if settle and standing.word.startswith("CANCELLED") and run.cancellation() is None:
            self._stopped = f"job {standing.slurm_job_id} was cancelled"
        elif settle and not hosts and run.cancellation() is None:
            self._stopped = f"run {run.run_id} has left no records ({standing.word})"

    def _note_states(self) -> None:
        words = self.executor.words()
        if words is None:
            return
        self._words = dict(words)
        fleets.note_states(self.folder, words, {*self.folder.fleet(), *self._named()})

    def _named(self) -> tuple[str, ...]:
        """The nodes that runs under way have asked for by name."""
        return tuple(node for run in self._live() for node in self._named_by(run))

    def _named_by(self, run: RunFolder) -> tuple[str, ...]:
        return self.executor.name_nodes(self._job(run).site.slurm.nodelist or "")

    def _drop_stuck(self) -> None:
        """A job that waits for a node that is down would wait for ever."""
        for run in self._live():
            if not self._standings.get(run.run_id, _NEW).word.startswith("PENDING"):
                continue
            lost = [node for node in self._named_by(run) if self._is_given_up(node)]
            if lost:
                self.watcher.say(f"{', '.join(lost)} cannot be had: the job that waits for it is cancelled")
                with contextlib.suppress(HpcdlError):
                    self.executor.cancel(run)

    def _is_given_up(self, node: str) -> bool:
        return fleets.unfit_since_s(self.folder, node, self._begun_utc) > self.manner.patience_s

    # ---- What comes next ----

    def _act(self) -> bool:
        """Submit what comes next; False: there is nothing left to do or to wait for."""
        if self._stopped:
            return bool(self._live())
        live = len(self._live())
        if self.asked.per_node_jobs and (left := self._list_unchecked()):
            ready = {node for node in left if self._can_begin(node)}
            for wanted in list_single(left, ready, places=self.manner.at_once - live):
                self._submit(wanted)
                live += 1
            if live or not all(self._is_given_up(node) for node in left):
                return True
        if live:
            return True
        wanted_next = self._choose()
        if wanted_next is not None:
            self._submit(wanted_next)
        return wanted_next is not None

    def _list_unchecked(self) -> list[str]:
        """Nodes that have had no job of their own, in the order of the fleet."""
        if self.asked.suite.tests.node is None:
            return []
        done = {
            node
            for run in self._submitted()
            if read_kind(self._job(run)) in {"node", "added"}
            for node in self._named_by(run)
        }
        return [node for node in self.folder.fleet() if node not in done]

    def _can_begin(self, node: str) -> bool:
        reserved = self.asked.site.slurm.reservation is not None
        return bool(self._words and node in self._words and self._words[node].can_begin(reserved=reserved))

    def _choose(self) -> Round | None:
        past, fleet, suite = self._past(), self._fleet(), self.asked.suite
        first = self._choose_first(past, fleet)
        if first is not None or not fleet.nodes:
            return first
        verdict, evidence = self.assess(), self._gather()
        undecided = find_open(verdict, suite)
        slow = find_slow_group(fleet.nodes, verdict, evidence)
        doubt = Doubt(
            tests=tuple(test for test in list_tests(suite, len(fleet.nodes)) if test in undecided.tests),
            nodes=tuple(undecided.nodes),
            slow_group=slow[0] if slow is not None and slow[1] else (),
        )
        return decide(suite, fleet, past, doubt, self._list_switches())

    def _choose_first(self, past: list[RoundKind], fleet: Fleet) -> Round | None:
        """The round that everything begins with; None: it has been. One that got no node is begun again."""
        suite, wanted = self.asked.suite, self.asked.nodes or len(fleet.nodes)
        if not self.asked.per_node_jobs:
            if "first" in past and fleet.nodes:
                return None
            # Named nodes that cannot be had are left out, once a job has waited for them in vain.
            named = fleet.usable if past else ()
            return Round("first", list_tests(suite, wanted), len(named) or wanted, named)
        tests = tuple(test for test in list_tests(suite, len(fleet.usable)) if test != "node")
        if "first" in past or not tests or not fleet.usable:
            return None
        return Round("first", tests, len(fleet.usable), fleet.usable)

    def _list_switches(self) -> Mapping[str, tuple[str, ...]]:
        """Those that are to be measured by themselves, and have not been."""
        links = self.asked.suite.tests.links
        if links is None or "switches" not in links.groups or self.asked.executor == "local":
            return {}
        done = {frozenset(self._named_by(run)) for run in self._submitted() if read_kind(self._job(run)) == "switch"}
        usable = set(self._fleet().usable)
        return {name: nodes for name, nodes in slurm.switches().items() if frozenset(usable & set(nodes)) not in done}

    def _submit(self, wanted: Round) -> None:
        job = plan_round(self.asked, self.folder, wanted)
        self.executor.submit(job)
        self._pauses, self._asked_s = slurm.waits_s(), -1e9

    # ---- Who looks on ----

    def _show(self) -> None:
        nodes = self.folder.fleet()
        runs = self._submitted()
        self.watcher.show(
            Sight(
                columns=self._eye.columns,
                nodes=nodes,
                cells=self._eye.look(runs, nodes, frozenset(self._over)),
                standings=tuple(
                    (describe(self._job(run)), self._standings.get(run.run_id, _NEW)) for run in self._live()
                ),
            )
        )

    def _rest(self) -> None:
        """Until the next look: the longer a look takes, the fewer of them, so that watching stays light."""
        time.sleep(max(TICK_S, min(5.0, 4 * self._eye.spent_s)))


_NEW = Standing(over=False, word="not submitted")
_NEVER = "never submitted"


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
