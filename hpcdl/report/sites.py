"""What `hpcdl site` shows: the values of a site file with their sources, and what a check of it has proven."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hpcdl.report.content import Column, Fact, Note, Report, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from hpcdl.sites.proofs import Proof

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


def write_entry(value: Any) -> str:
    """A value as the file would have it; '-' where there is none."""
    if value is None or value in ({}, [], ()):
        return "-"
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


def describe_proofs(proofs: Sequence[Proof], about: tuple[str, ...], more: tuple[str, ...]) -> Report:
    """Each entry: proven, refuted with what was seen, or not checked, and why."""
    columns = (*ENTRY, Column("outcome", "outcome", left=True), Column("seen", "what was seen", left=True))
    rows = tuple((one.entry, write_entry(one.value), one.outcome, one.seen) for one in proofs)
    refuted = [one.entry for one in proofs if one.outcome == "refuted"]
    counts = {
        outcome: sum(one.outcome == outcome for one in proofs)
        for outcome in ("proven", "refuted", "not checked")
    }
    facts = tuple(Fact(outcome.replace(" ", "_"), outcome, number) for outcome, number in counts.items())
    notes = (Note("failure", f"Refuted: {', '.join(refuted)}."),) if refuted else ()
    return Report(
        kind="site",
        title="Check of the site file",
        sections=(Table("proofs", "Entries", columns, rows, facts=facts),),
        notes=notes,
        about=about,
        more=more,
    )
