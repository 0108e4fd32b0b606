"""The certificate of an acceptance: the verdict first, who is to blame, what was required and seen, of what it follows.

Its size does not grow with the fleet: of many units the worst are shown, and how many others there are.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from hpcdl.acceptance.verdict import EXIT_CODES
from hpcdl.report.content import Column, Fact, Note, Report, Table
from hpcdl.report.fleets import group_nodes, make_fleet_table, make_hardware_table, name_nodes
from hpcdl.report.gallery.acceptance import draw_acceptance
from hpcdl.report.papers import (
    make_absence_table,
    make_device_table,
    make_job_table,
    make_policy_table,
    make_record_table,
)
from hpcdl.report.requirements import WORDS, find_floors, make_requirement_table, make_unit_tables
from hpcdl.report.wording import count
from hpcdl.site import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from hpcdl.acceptance.evidence import Evidence
    from hpcdl.acceptance.folder import Acceptance
    from hpcdl.acceptance.verdict import Outcome, Verdict
    from hpcdl.report.content import Badge, Cell
    from hpcdl.report.papers import JobLine, Papers

UNSIGNED = "UNSIGNED"
MOST_CULPRITS = 32
BADGES: dict[Outcome, Badge] = {"pass": "PASS", "fail": "FAIL", "insufficient": "INSUFFICIENT EVIDENCE"}


def build_certificate(
    asked: Acceptance,
    verdict: Verdict,
    evidence: Evidence,
    *,
    jobs: Sequence[JobLine] = (),
    papers: Papers | None = None,
) -> Report:
    """What an acceptance concluded, as a report.

    Args:
        asked: What was asked.
        verdict: What follows.
        evidence: From what.
        jobs: Those that the evidence is from.
        papers: Of a certificate that is written; None: for looking at, unsigned and without its records.
    """
    floors = find_floors(asked.suite)
    groups = group_nodes(evidence)
    signer = papers.signer if papers else ""
    sections = [
        _make_verdict_table(asked, verdict, signer),
        *_make_culprit_table(verdict),
        make_requirement_table(verdict.requirements, floors),
        *make_unit_tables(verdict.requirements, floors),
        make_fleet_table(groups),
        make_hardware_table(groups),
        make_device_table(evidence),
        make_absence_table(asked, evidence),
        make_policy_table(asked, verdict),
        make_job_table(jobs),
        *([make_record_table(asked, papers)] if papers else []),
    ]
    return Report(
        kind="certificate",
        title=_write_title(asked, verdict),
        badges=choose_badges(verdict, "SIGNED" if signer else "UNSIGNED"),
        sections=tuple(table for table in sections if table.rows),
        notes=tuple(_list_notes(verdict)),
        more=tuple(_point_further(asked, papers)),
        pictures=tuple(draw_acceptance(verdict, floors)),
        headline=_make_headline(verdict),
        about=tuple(_identify(asked, papers)),
        stamp=_write_stamp(verdict, signer),
    )


def _write_title(asked: Acceptance, verdict: Verdict) -> str:
    site = "" if asked.site.name == UNNAMED else f" ({asked.site.name})"
    return f"Acceptance: {WORDS[verdict.outcome]} · {asked.suite.name} · {count(len(verdict.nodes), 'node')}{site}"


def choose_badges(verdict: Verdict, *more: Badge) -> tuple[Badge, ...]:
    """The outcome, and whether it is a rehearsal."""
    rehearsal: tuple[Badge, ...] = ("REHEARSAL",) if verdict.rehearsal else ()
    return (BADGES[verdict.outcome], *rehearsal, *more)


def _write_stamp(verdict: Verdict, signer: str) -> str:
    """What a page that came loose has to say."""
    return " · ".join(
        [_tell_signer(signer), WORDS[verdict.outcome], *(["REHEARSAL"] if verdict.rehearsal else [])]
    )


def _tell_signer(signer: str) -> str:
    return f"SIGNED BY {signer}" if signer else UNSIGNED


def _identify(asked: Acceptance, papers: Papers | None) -> Iterator[str]:
    yield f"acceptance {asked.accept_id} · begun {_write_time(asked.created_utc)} · suite {asked.suite.name}"
    if papers:
        yield f"issued {_write_time(papers.issued_utc)} · records {papers.records_sha256}"


def _write_time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _count_outcomes(verdict: Verdict) -> str:
    """'12 of 16 requirements passed, 3 failed, 1 undecided'."""
    required = [one for one in verdict.requirements if one.severity == "required"]
    held = sum(one.outcome == "pass" for one in required)
    told = [f"{held} of {count(len(required), 'requirement')} passed"]
    for outcome, word in (
        ("fail", "failed"),
        ("insufficient", "undecided"),
        ("not applicable", "not applicable"),
    ):
        number = sum(one.outcome == outcome for one in required)
        told += [f"{number} {word}"] if number else []
    return ", ".join(told)


def _name_culprits(verdict: Verdict) -> str:
    if not verdict.culprits:
        return "nobody" if verdict.outcome == "pass" else "nobody is named: see the requirements"
    nodes = list(dict.fromkeys(node for culprit in verdict.culprits for node in culprit.nodes))
    return name_nodes(nodes)


def _make_headline(verdict: Verdict) -> tuple[Fact, ...]:
    return (
        Fact("verdict", "verdict", WORDS[verdict.outcome]),
        Fact("requirements", "requirements", _count_outcomes(verdict)),
        Fact("to_blame", "to blame", _name_culprits(verdict)),
        Fact("nodes", "nodes", len(verdict.nodes)),
    )


def _make_verdict_table(asked: Acceptance, verdict: Verdict, signer: str) -> Table:
    columns = (
        Column("verdict", "verdict", left=True),
        Column("requirements_held", "requirements", left=True),
        Column("to_blame", "to blame", left=True),
        Column("nodes", "nodes", left=True),
        Column("suite", "suite", left=True),
        Column("suite_about", "what it asks", left=True),
        Column("rehearsal", "rehearsal", left=True),
        Column("signature", "signature", left=True),
        Column("outcome", "outcome", hidden=True),
        Column("exit_code", "exit code", hidden=True),
    )
    row: tuple[Cell, ...] = (
        WORDS[verdict.outcome],
        _count_outcomes(verdict),
        _name_culprits(verdict),
        f"{len(verdict.nodes):,}: {name_nodes(verdict.nodes)}",
        asked.suite.name,
        asked.suite.about,
        verdict.rehearsal,
        _tell_signer(signer),
        verdict.outcome,
        EXIT_CODES[verdict.outcome],
    )
    return Table("verdict", "Verdict", columns, (row,))


def _make_culprit_table(verdict: Verdict) -> Iterator[Table]:
    columns = (
        Column("unit", "unit", left=True),
        Column("nodes", "nodes", left=True, hidden=all(one.nodes == (one.unit,) for one in verdict.culprits)),
        Column("symptom", "what is wrong", left=True),
        Column("clues", "what else is peculiar", left=True),
        Column("criteria", "requirements", left=True, rank=2),
    )
    rows: list[tuple[Cell, ...]] = [
        (one.unit, name_nodes(one.nodes), one.symptom, "; ".join(one.clues), ", ".join(one.criteria))
        for one in verdict.culprits
    ]
    yield Table("culprits", "Who is to blame", columns, tuple(rows), limit=MOST_CULPRITS)


def _list_notes(verdict: Verdict) -> Iterator[Note]:
    for culprit in verdict.culprits[:MOST_CULPRITS]:
        clues = f"; {'; '.join(culprit.clues)}" if culprit.clues else ""
        yield Note("failure", f"{culprit.unit}: {culprit.symptom}{clues}")
    if verdict.rehearsal:
        yield Note("rehearsal", f"this is no acceptance of a cluster: {verdict.rehearsal}")
    yield Note(
        "info",
        f"a healthy fleet would raise {verdict.false_alarms:.2g} false alarms on average, at most, by "
        f"{verdict.comparisons:,} decisions",
    )
    if verdict.outcome == "insufficient":
        yield Note("warning", "what could not be told is no pass, and no fail either: see the reasons")


def _point_further(asked: Acceptance, papers: Papers | None) -> Iterator[str]:
    if papers is None:
        yield f"the certificate, with its records: hpcdl accept report {asked.accept_id} --out DIR --key FILE"
    else:
        yield "check it: hpcdl accept verify DIR"
