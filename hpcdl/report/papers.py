"""What a certificate rests on: devices, what could not be looked at, the policy, the jobs, and the records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.report.content import Column, Quantity, Table
from hpcdl.report.fleets import LIMITS, count_models, name_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hpcdl.acceptance.evidence import Evidence
    from hpcdl.acceptance.folder import Acceptance
    from hpcdl.acceptance.verdict import Verdict
    from hpcdl.report.content import Cell

MOST_ABSENCES, MOST_JOBS = 32, 20


@dataclass(frozen=True)
class JobLine:
    """A job that the evidence is from. `script_sha256` is empty where there was no batch script."""

    run_id: str
    executor_id: str
    launches: str
    nodes: int
    script: str
    script_sha256: str


@dataclass(frozen=True)
class Papers:
    """Which records a certificate rests on, and who signs it: 'SHA256:… (ED25519)'; empty: nobody."""

    issued_utc: datetime
    records_sha256: str
    records_files: int
    records_bytes: int
    signer: str = ""


def make_device_table(evidence: Evidence) -> Table:
    """How many devices of each model were seen."""
    columns = (Column("model", "device", left=True), Column("count", "units"))
    return Table("devices", "Devices", columns, tuple(count_models(evidence)))


def make_absence_table(asked: Acceptance, evidence: Evidence) -> Table:
    """What could not be looked at, by reason: no check that did not run may be overlooked."""
    required = {criterion.metric for criterion in asked.suite.criteria}
    units: dict[tuple[str, str], list[str]] = {}
    for one in evidence.absences:
        if one.metric in LIMITS and one.metric not in required:
            continue  # it stands with the hardware: that there is none is known
        units.setdefault((one.metric, one.reason), []).extend(one.unit.nodes or (one.unit.name,))
    columns = (
        Column("metric", "what could not be had", left=True),
        Column("required", "required", left=True),
        Column("nodes", "nodes"),
        Column("which", "of which", left=True),
        Column("reason", "why", left=True),
    )
    rows: list[tuple[Cell, ...]] = [
        (metric, "yes" if metric in required else "no", len(set(nodes)), name_nodes(nodes), reason)
        for (metric, reason), nodes in units.items()
    ]
    rows.sort(key=lambda row: (row[1] != "yes", -int(str(row[2])), str(row[0]), str(row[4])))
    return Table("absences", "What could not be looked at", columns, tuple(rows), limit=MOST_ABSENCES)


FALSE_ALARMS_EXPLAINED = (
    "each decision by an interval has a chance of failing a healthy unit by accident; these chances are made so small "
    "that their sum, which no dependence between decisions can exceed (Bonferroni's bound), is at most what is allowed"
)


def make_policy_table(asked: Acceptance, verdict: Verdict) -> Table:
    """How sure the verdict is, and what was allowed for that."""
    policy = asked.suite.policy
    alphas = [one.alpha for one in verdict.requirements if one.alpha is not None]
    columns = (
        Column("false_alarms", "false alarms of a healthy fleet, on average at most"),
        Column("false_alarms_allowed", "allowed"),
        Column("comparisons", "decisions together"),
        Column("alpha", "chance of each, at most"),
        Column("confidence", "confidence of one requirement"),
        Column("reruns", "further jobs allowed"),
        Column("confirm", "a failing time is measured again", left=True),
    )
    row: tuple[Cell, ...] = (
        Quantity(verdict.false_alarms, "number"),
        Quantity(policy.false_alarms, "number"),
        verdict.comparisons,
        Quantity(max(alphas), "number") if alphas else None,
        Quantity(policy.confidence, "fraction"),
        policy.reruns,
        "yes, in a job of its own" if policy.confirm else "no",
    )
    return Table("policy", "Policy", columns, (row,), captions=(FALSE_ALARMS_EXPLAINED,))


def make_job_table(jobs: Sequence[JobLine]) -> Table:
    """The jobs that the evidence is from."""
    columns = (
        Column("run", "job", left=True),
        Column("executor_id", "its executor's number", left=True, rank=1),
        Column("nodes", "nodes"),
        Column("launches", "launches", left=True),
        Column("script", "script", left=True),
        Column("script_sha256", "its SHA-256", left=True),
    )
    rows = tuple(
        (job.run_id, job.executor_id, job.nodes, job.launches, job.script, job.script_sha256) for job in jobs
    )
    return Table("jobs", "Jobs, and their scripts", columns, rows, limit=MOST_JOBS)


def make_record_table(asked: Acceptance, papers: Papers) -> Table:
    """By what the records are known."""
    columns = (
        Column("records_sha256", "SHA-256 over all records", left=True),
        Column("records_files", "files"),
        Column("records_bytes", "size"),
        Column("suite_file", "suite's file", left=True),
        Column("suite_digest", "suite's digest", left=True),
        Column("hpcdl", "begun by hpcdl", left=True),
    )
    row: tuple[Cell, ...] = (
        papers.records_sha256,
        papers.records_files,
        Quantity(float(papers.records_bytes), "bytes"),
        asked.suite_file,
        asked.suite_digest,
        asked.hpcdl,
    )
    caption = (
        "that checksum is of the lines that sha256sum prints of all files below records/, sorted by path; "
        "manifest.json has them one by one"
    )
    return Table("records", "Records and manifest", columns, (row,), captions=(caption,))
