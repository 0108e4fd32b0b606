"""The course of an acceptance: look at its folder, make the next job or end. Its state is nothing but that folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hpcdl import slurm
from hpcdl.acceptance.concluding import conclude
from hpcdl.acceptance.judging import find_open
from hpcdl.acceptance.planning import list_tests, plan_round, read_kind
from hpcdl.acceptance.rounds import Round
from hpcdl.campaign.bisecting import find_slow_group
from hpcdl.campaign.deciding import Doubt, choose_late, decide, list_single
from hpcdl.campaign.roll import Roll, describe
from hpcdl.campaign.sight import Eye, Sight, list_columns
from hpcdl.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.acceptance.concluding import Conclusion
    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.acceptance.rounds import RoundKind
    from hpcdl.acceptance.verdict import Verdict
    from hpcdl.campaign.deciding import Fleet
    from hpcdl.campaign.executors import Executor

TICK_S = 0.5
AT_ONCE = 16
PATIENCE_S = 3600.0


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
    manner: Manner = Manner()

    def __post_init__(self) -> None:
        self.asked = self.folder.asked()
        self.roll = Roll(self.folder, self.executor, self.watcher.say, self.manner.patience_s)
        self._eye = Eye(list_columns(self.asked.suite))

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
            self._join(added)
            while self._act():
                self._show()
                self._rest()
                self.roll.look()
            self._show()
        finally:
            if self.executor.close():
                self.watcher.say("the ranks are ended; what was measured is kept")
        return self.assess(final=not self.roll.stopped).verdict

    def start(self, added: Round | None = None) -> None:
        """Submit what comes next, if anything does, and leave it to run.

        Raises:
            Mistake: A job cannot be planned, or Slurm refuses it.
        """
        self._join(added)
        self._act()

    def _join(self, added: Round | None) -> None:
        self.roll.look(settle=False)
        if added is not None:
            self._submit(added)

    def assess(self, *, final: bool = False) -> Conclusion:
        """What follows from what has been seen up to now.

        Raises:
            Failure: No node has taken part.
        """
        accept_id = self.folder.accept_id
        if not self.folder.fleet():
            why = self.roll.stopped or "its first job has not begun"
            raise Failure(
                f"no node has taken part in acceptance {accept_id}: {why}.",
                do=f"See hpcdl logs --store {self.folder.runs.root}; go on with hpcdl accept resume {accept_id}.",
            )
        return conclude(self.folder, final=final, running={run.run_id for run in self.roll.live()})

    def _act(self) -> bool:
        """Submit what comes next; False: there is nothing left to do or to wait for."""
        if self.roll.stopped:
            return bool(self.roll.live())
        live = len(self.roll.live())
        if self.asked.per_node_jobs and (left := self._list_unchecked()):
            ready = {node for node in left if self._can_begin(node)}
            for wanted in list_single(left, ready, places=self.manner.at_once - live):
                self._submit(wanted)
                live += 1
            if live or not all(self.roll.is_given_up(node) for node in left):
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
            for run in self.roll.submitted()
            if read_kind(self.roll.job(run)) in {"node", "added"}
            for node in self.roll.named_by(run)
        }
        return [node for node in self.folder.fleet() if node not in done]

    def _can_begin(self, node: str) -> bool:
        reserved = self.asked.site.slurm.reservation is not None
        return bool(
            self.roll.words and node in self.roll.words and self.roll.words[node].can_begin(reserved=reserved)
        )

    def _choose(self) -> Round | None:
        past, fleet, suite = self.roll.past(), self.roll.fleet(), self.asked.suite
        first = self._choose_first(past, fleet)
        if first is not None or not fleet.nodes:
            return first
        late = choose_late(suite, fleet, self.roll.reached(), alone=not self.asked.per_node_jobs)
        if late is not None:
            return late
        found = self.assess()
        undecided = find_open(found.verdict, suite)
        slow = find_slow_group(fleet.nodes, found.verdict, found.evidence)
        doubt = Doubt(
            tests=tuple(test for test in list_tests(suite, len(fleet.nodes)) if test in undecided.tests),
            nodes=tuple(undecided.nodes),
            slow_group=slow[0] if slow is not None and slow[1] else (),
        )
        return decide(suite, fleet, past, doubt, self._list_switches())

    def _choose_first(self, past: list[RoundKind], fleet: Fleet) -> Round | None:
        """The round that everything begins with; None: it has been. One that got no node is begun again."""
        suite, count = self.asked.suite, self.asked.nodes or 1
        if "first" in past:
            return None
        if not self.asked.per_node_jobs:
            # Named nodes that cannot be had are left out, once a job has waited for them in vain.
            named = fleet.usable if self.roll.submitted() and self.asked.executor == "slurm" else ()
            return Round("first", list_tests(suite, len(named) or count), len(named) or count, named)
        tests = tuple(test for test in list_tests(suite, len(fleet.usable)) if test != "node")
        if not tests or not fleet.usable:
            return None
        return Round("first", tests, len(fleet.usable), fleet.usable)

    def _list_switches(self) -> Mapping[str, tuple[str, ...]]:
        """Those that are to be measured by themselves, and have not been."""
        links = self.asked.suite.tests.links
        if links is None or "switches" not in links.groups or self.asked.executor == "local":
            return {}
        done = {
            frozenset(self.roll.named_by(run))
            for run in self.roll.submitted()
            if read_kind(self.roll.job(run)) == "switch"
        }
        usable = set(self.roll.fleet().usable)
        return {
            name: nodes
            for name, nodes in slurm.switches().items()
            if frozenset(usable & set(nodes)) not in done
        }

    def _submit(self, wanted: Round) -> None:
        self.executor.submit(plan_round(self.asked, self.folder, wanted))
        self.roll.ask_soon()

    def _show(self) -> None:
        nodes = self.folder.fleet()
        runs = self.roll.submitted()
        self.watcher.show(
            Sight(
                columns=self._eye.columns,
                nodes=nodes,
                cells=self._eye.look(runs, nodes, frozenset(self.roll.over)),
                standings=tuple(
                    (describe(self.roll.job(run)), self.roll.standing(run)) for run in self.roll.live()
                ),
            )
        )

    def _rest(self) -> None:
        """Until the next look: the longer a look takes, the fewer of them, so that watching stays light."""
        time.sleep(max(TICK_S, min(5.0, 4 * self._eye.spent_s)))
