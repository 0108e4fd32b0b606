"""What `hpcdl accept list`, `suites` and `suspects` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl import networks
from hpcdl.acceptance import metrics
from hpcdl.acceptance.wording import write_threshold
from hpcdl.report.acceptances import choose_badges
from hpcdl.report.content import Column, Note, Report, Table
from hpcdl.report.wording import join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.acceptance.suite import Criterion, Suite
    from hpcdl.acceptance.verdict import Verdict

ACCEPTANCES = (
    Column("accept", "acceptance", left=True),
    Column("suite", "suite", left=True),
    Column("executor", "on", left=True, rank=3),
    Column("nodes", "nodes"),
    Column("jobs", "jobs", rank=1),
    Column("created", "begun, UTC", left=True, rank=2),
)
SUITES = (
    Column("suite", "suite", left=True),
    Column("about", "what it asks", left=True),
    Column("requirements", "requires"),
    Column("walltime", "walltime", left=True),
    Column("minutes", "minutes at most, on four nodes", hidden=True),
    Column("tests", "tests", left=True, rank=1),
)
WALLTIME_EXPLAINED = (
    "walltime: hours and minutes that Slurm would be asked for on four nodes like this machine, with room to spare; "
    "`hpcdl accept run SUITE --nodes N --dry-run` says it of others"
)
METRICS = (
    Column("metric", "metric", left=True),
    Column("unit", "unit", left=True),
    Column("scope", "of each", left=True),
    Column("better", "better", left=True, rank=2),
    Column("test", "test", left=True, rank=3),
    Column("about", "what it is", left=True, rank=1),
)
CRITERIA = (
    Column("criterion", "requirement", left=True),
    Column("metric", "of", left=True),
    Column("asked", "asked", left=True),
    Column("severity", "severity", left=True, rank=2),
    Column("why", "why", left=True, rank=1),
)
SUSPECTS = (Column("unit", "who", left=True), Column("sentence", "what is known", left=True))


def list_acceptances(folders: Sequence[AcceptanceFolder]) -> Report:
    """Those of a store, oldest first."""
    rows = []
    for folder in folders:
        asked = folder.asked()
        nodes = len(folder.fleet())
        rows.append(
            (
                folder.accept_id,
                asked.suite.name,
                "Slurm" if asked.executor == "slurm" else "this machine",
                f"{nodes} of {asked.nodes}" if asked.nodes and asked.nodes > nodes else str(nodes),
                len(folder.runs.names()),
                f"{asked.created_utc:%Y-%m-%d %H:%M}",
            )
        )
    return Report(
        kind="acceptance",
        title="acceptances",
        sections=(Table("acceptances", "Acceptances", ACCEPTANCES, tuple(rows)),) if rows else (),
        more=() if rows else ("there are none yet: hpcdl accept run smoke --nodes N",),
    )


def list_suites(suites: Mapping[str, Suite], minutes: Mapping[str, int]) -> Report:
    """The built-in suites; `minutes` is the walltime that each would ask for on four nodes."""
    rows = tuple(
        (
            name,
            suite.about,
            len(suite.criteria),
            f"{minutes[name] // 60}:{minutes[name] % 60:02}",
            minutes[name],
            describe_tests(suite),
        )
        for name, suite in suites.items()
    )
    return Report(
        kind="acceptance",
        title="suites of acceptance",
        sections=(Table("suites", "Suites", SUITES, rows, captions=(WALLTIME_EXPLAINED,)),),
        more=(
            "what one requires: hpcdl accept suites NAME",
            "what can be required: hpcdl accept suites --metrics",
        ),
    )


def list_metrics() -> Report:
    """What a criterion may require; the units are those that a threshold may be written in."""
    rows = tuple(
        (
            one.name,
            "word"
            if one.dimension == "text"
            else ", ".join(filter(None, metrics.UNITS[one.dimension])) or "number",
            one.scope,
            one.better,
            one.test,
            one.about + (" (GPUs only)" if one.gpu else ""),
        )
        for one in metrics.METRICS.values()
    )
    return Report(
        kind="acceptance",
        title="metrics that a suite can require",
        sections=(Table("metrics", "Metrics", METRICS, rows),),
        notes=(Note("info", f"{{model}} is one of {', '.join(networks.NETWORKS)}"),),
    )


def describe_tests(suite: Suite) -> str:
    """What is run, in words."""
    tests = suite.tests
    alone = [", ".join(tests.node.checks)] if tests.node else []
    together = [name for name in ("links", "scaling", "convergence") if getattr(tests, name) is not None]
    return "; ".join([*alone, join(together)] if together else alone)


def describe_suite(suite: Suite) -> Report:
    """One suite: what it tests, and all that it requires."""
    rows = tuple((one.name, one.metric, _ask(one), one.severity, one.why) for one in suite.criteria)
    return Report(
        kind="acceptance",
        title=f"suite {suite.name}: {suite.about}",
        sections=(Table("criteria", f"Tests: {describe_tests(suite)}", CRITERIA, rows),),
    )


def _ask(criterion: Criterion) -> str:
    whose = {
        "fleet": "of the fleet's median",
        "reference": "of the baseline's",
        "expectation": "of what a model expects",
    }
    if criterion.equals is not None:
        return "as most of the fleet" if criterion.equals == "fleet" else f"is {criterion.equals}"
    given = criterion.at_least if criterion.is_floor else criterion.at_most
    line = f"{'at least' if criterion.is_floor else 'at most'} {write_threshold(given)}"
    return f"{line} {whose[criterion.of]}" if criterion.of else line


def list_suspects(verdict: Verdict, name: str) -> Report:
    """Who is at fault, a sentence each. Where nobody is named, whether that means anything."""
    culprits = verdict.culprits
    nobody = "nobody is at fault" if verdict.outcome == "pass" else "nobody is named"
    told = f"{len(culprits)} at fault" if culprits else nobody
    rows = tuple((culprit.unit, "; ".join([culprit.symptom, *culprit.clues])) for culprit in culprits)
    return Report(
        kind="acceptance",
        title=f"{name}: {told}",
        badges=choose_badges(verdict),
        sections=(Table("suspects", "Suspects", SUSPECTS, rows),) if rows else (),
        more=()
        if verdict.outcome == "pass"
        else (f"which requirements, and why: hpcdl accept report {name}",),
    )
