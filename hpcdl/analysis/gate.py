"""The gate before every figure: what must hold of a launch before a number of it is published.

A check is held, failed or 'could not look'. What failed withholds the figures. What could not be looked at is
shown; it withholds only where nothing can be said without it: completion, world size, coverage, steady state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hpcdl.analysis.pace import Pace, tell_unsteady
from hpcdl.analysis.readings import known
from hpcdl.analysis.throttling import could_look, is_at_power_limit, tell_throttling
from hpcdl.estimates.steady import NoSteadyState
from hpcdl.records import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hpcdl.columns import StepTable
    from hpcdl.plan import Launch
    from hpcdl.records import Conditions, Environment, Host, Summary

Outcome = Literal["held", "failed", "could not look"]

# Others' load below half a core is the operating system's own; on large machines, five cores of a hundred.
FOREIGN_CORES, FOREIGN_SHARE = 0.5, 0.05


@dataclass(frozen=True)
class Check:
    """One question of the gate and its answer."""

    name: str
    outcome: Outcome
    detail: str
    needed: bool = False

    @property
    def withholds(self) -> bool:
        """Whether figures are not published because of it."""
        return self.outcome == "failed" or (self.needed and self.outcome == "could not look")


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at. `unfinished` is why the launch did not complete; None: it did."""

    plan: Launch
    unfinished: str | None
    environment: Environment | None
    summary: Summary | None
    steps: StepTable | None
    pace: Pace | Missing


def examine(evidence: Evidence) -> tuple[Check, ...]:
    """All checks of a launch, in the order in which they are told."""
    return (
        _check_completion(evidence),
        _check_preflight(evidence),
        _check_coverage(evidence),
        _check_steadiness(evidence),
        _check_throttling(evidence),
        _check_foreign_load(evidence),
        _check_alikeness(evidence),
    )


def why_withheld(checks: Iterable[Check]) -> str | None:
    """The first reason why figures are not published; None: they are."""
    return next((check.detail for check in checks if check.withholds), None)


def _check_completion(evidence: Evidence) -> Check:
    name = "all ranks finished"
    if evidence.unfinished is not None:
        return Check(name, "failed", evidence.unfinished, needed=True)
    return Check(name, "held", f"{evidence.plan.world_size} ranks", needed=True)


def _check_preflight(evidence: Evidence) -> Check:
    name = "preflight"
    environment = evidence.environment
    if environment is None:
        return Check(
            name,
            "could not look",
            "no environment was recorded: nobody knows how many ranks met",
            needed=True,
        )
    if environment.world_size != evidence.plan.world_size:
        found = (
            f"{environment.world_size} ranks found each other where {evidence.plan.world_size} were planned"
        )
        return Check(name, "failed", found, needed=True)
    outcomes: tuple[Outcome, ...] = ("failed", "could not look")
    for outcome in outcomes:
        unheld = [finding for finding in environment.findings if finding.outcome == outcome]
        if unheld:
            told = "; ".join(f"{finding.check}: {finding.detail}" for finding in unheld)
            # The worker stops at what failed; what it could not look at was never needed.
            failed = outcome == "failed"
            return Check(name, outcome, f"preflight, {told}" if failed else told, needed=failed)
    return Check(name, "held", f"{len(environment.findings)} findings", needed=True)


def _check_coverage(evidence: Evidence) -> Check:
    name = "coverage"
    if evidence.summary is None or evidence.steps is None:
        return Check(name, "could not look", "the step records were not read", needed=True)
    recorded = int((~evidence.steps.warmup).sum())
    expected = evidence.summary.window.steps * evidence.plan.world_size
    if recorded != expected:
        found = f"{recorded:,} of {expected:,} step records of the measured window could be read"
        return Check(name, "failed", found, needed=True)
    return Check(name, "held", f"{recorded:,} step records", needed=True)


def _check_steadiness(evidence: Evidence) -> Check:
    name = "steady state"
    pace = evidence.pace
    if isinstance(pace, Missing):
        return Check(name, "could not look", pace.missing, needed=True)
    if isinstance(pace.steady, NoSteadyState):
        return Check(name, "failed", tell_unsteady(pace.steady), needed=True)
    return Check(name, "held", f"{pace.steady_steps} of {len(pace.periods_s)} steps", needed=True)


def _conditions(evidence: Evidence) -> Sequence[Conditions]:
    return evidence.summary.conditions if evidence.summary else ()


def _check_throttling(evidence: Evidence) -> Check:
    name = "no throttling"
    conditions = _conditions(evidence)
    slowed = [(one.rank, told) for one in conditions for told in tell_throttling(one)]
    if slowed:
        rank, why = slowed[0]
        more = f", and {len(slowed) - 1} more" if len(slowed) > 1 else ""
        return Check(name, "failed", f"{_name_rank(evidence.environment, rank)} was throttled: {why}{more}")
    on_gpu = evidence.environment is not None and evidence.environment.device == "cuda"
    if sum(could_look(one, on_gpu=on_gpu) for one in conditions) < evidence.plan.world_size:
        return Check(name, "could not look", "this machine does not tell on all ranks")
    limited = sum(is_at_power_limit(one) for one in conditions)
    return Check(name, "held", f"{limited} at their power limit" if limited else "none was seen")


def _name_rank(environment: Environment | None, rank: int) -> str:
    hosts = {host.rank: host.host for host in environment.hosts} if environment else {}
    return f"rank {rank} ({hosts[rank]})" if rank in hosts else f"rank {rank}"


def _check_foreign_load(evidence: Evidence) -> Check:
    name = "no foreign load"
    looked = [one for one in _conditions(evidence) if not isinstance(one.foreign_cores, Missing)]
    if not looked:
        return Check(name, "could not look", "other processes could not be looked for")
    worst = max(looked, key=lambda one: known([one.foreign_cores])[0])
    [cores] = known([worst.foreign_cores])
    if cores > max(FOREIGN_CORES, FOREIGN_SHARE * worst.cores_of_host):
        host = _name_rank(evidence.environment, worst.rank)
        who = f" ({'; '.join(worst.foreign)})" if worst.foreign else ""
        found = f"others kept {cores:.2g} cores busy beside {host}{who}"
        return Check(name, "failed", found)
    unseen = _find_unseen_hosts(evidence.environment, looked)
    if unseen:
        return Check(
            name, "could not look", f"other processes could not be looked for on {', '.join(unseen)}"
        )
    return Check(name, "held", f"at most {cores:.2g} cores")


def _find_unseen_hosts(environment: Environment | None, looked: Sequence[Conditions]) -> list[str]:
    """Hosts on which no rank looked; one rank of each does it for all."""
    places = {host.rank: host.host for host in environment.hosts} if environment else {}
    seen = {places.get(one.rank) for one in looked}
    return sorted({host for host in places.values() if host not in seen})


# What must be the same on all ranks; the preflight compares software, plan and data.
_ALIKE: dict[str, Callable[[Host], object]] = {
    "CPU": lambda host: host.cpu,
    "GPU": lambda host: host.gpu,
    "cores": lambda host: host.cores_visible,
    "threads": lambda host: host.threads,
}


def _check_alikeness(evidence: Evidence) -> Check:
    name = "equal machines"
    if evidence.environment is None:
        return Check(name, "could not look", "no environment was recorded")
    hosts = evidence.environment.hosts
    for what, read in _ALIKE.items():
        other = next((host for host in hosts if read(host) != read(hosts[0])), None)
        if other is not None:
            here, there = (_name_rank(evidence.environment, host.rank) for host in (hosts[0], other))
            found = f"{what}: {there} has {read(other)}, {here} has {read(hosts[0])}"
            return Check(name, "failed", found)
    return Check(name, "held", f"{len(hosts)} ranks")
