"""What `hpcdl site` shows: the values of a site file with their sources, and what a check of it has proven."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hpcdl.report.content import Column, Fact, Note, Report, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from hpcdl.sites.evidence import Evidence
    from hpcdl.sites.proofs import Proof

OUTCOMES = ("proven", "refuted", "not checked")
ENTRY = (Column("entry", "entry", left=True), Column("value", "value", left=True))


def describe_site(
    values: Mapping[str, Any], sources: Mapping[str, str], file: str | None, store: str
) -> Report:
    """Every value, whether it was set or is the default; what is not set at all is shown as such."""
    rows = tuple((key, write_entry(value), sources.get(key, "default")) for key, value in values.items())
    columns = (*ENTRY, Column("source", "from", left=True))
    facts = (
        Fact("file", "site file", file or "none: all values are defaults"),
        Fact("store", "runs are kept in", store),
    )
    more = ("prove it with a job of a minute: hpcdl site check",)
    return Report(
        kind="site",
        title="Site",
        sections=(Table("site", "Site", columns, rows, facts=facts),),
        more=more if file else ("write one from what Slurm tells: hpcdl site init",),
    )


def write_entry(value: Any) -> str | None:
    """A value as the file would have it; None where there is none."""
    if value is None or value in ({}, [], ()):
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def list_examples(examples: Mapping[str, str]) -> Report:
    """The examples by name, with what each is for."""
    columns = (Column("name", "name", left=True), Column("about", "for", left=True))
    table = Table("examples", "Examples of site files", columns, tuple(examples.items()))
    return Report(
        kind="site",
        title="Examples of site files",
        sections=(table,),
        more=("print one: hpcdl site example NAME",),
    )


def describe_proofs(proofs: Sequence[Proof], evidence: Evidence) -> Report:
    """Each entry: proven, refuted with what was seen, or not checked, and why."""
    columns = (*ENTRY, Column("outcome", "outcome", left=True), Column("seen", "what was seen", left=True))
    rows = tuple((one.entry, write_entry(one.value), one.outcome, one.seen) for one in proofs)
    facts = tuple(
        Fact(outcome.replace(" ", "_"), outcome, sum(one.outcome == outcome for one in proofs))
        for outcome in OUTCOMES
    )
    rehearsal = evidence.is_rehearsal
    return Report(
        kind="site",
        title="Check of the site file",
        badges=("REHEARSAL",) if rehearsal else (),
        sections=(Table("proofs", "Entries", columns, rows, facts=facts),),
        notes=tuple(_note(proofs, rehearsal=rehearsal)),
        more=() if evidence.refusal else (f"what the job said: hpcdl logs {evidence.job.run_id}",),
    )


def _note(proofs: Sequence[Proof], *, rehearsal: bool) -> Iterator[Note]:
    refuted = [one.entry for one in proofs if one.outcome == "refuted"]
    if refuted:
        yield Note("failure", f"refuted: {', '.join(refuted)}")
    if rehearsal:
        yield Note(
            "rehearsal", "these hosts share a boot id: they are one machine, and nothing went over a network"
        )
