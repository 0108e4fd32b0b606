"""`hpcdl accept report` and `hpcdl accept verify`: the certificate of an acceptance, and its proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli.look import JsonOption, StoreOption, open_store

if TYPE_CHECKING:
    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.certificate.verifying import Verified
    from hpcdl.report.content import Report

GIB = 1 << 30
FORMS = "markdown,html,pdf"


def report(
    acceptance: Annotated[
        str, typer.Argument(help="Its id (shortened is fine), its folder, or last.", metavar="ACCEPTANCE")
    ] = "last",
    *,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help=f"terminal, md or json; with --out also html, pdf: {FORMS} if none is named."
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Write the certificate, with its records.", metavar="DIR")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Sign it with this SSH key.", metavar="FILE")
    ] = None,
    junit: Annotated[
        str | None, typer.Option("--junit", help="Write the verdict for a CI system too.", metavar="FILE")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """The report of an acceptance; with --out its certificate: pages, records, checksums, and a signature by --key."""
    from hpcdl.acceptance.finding import find_acceptance
    from hpcdl.errors import Mistake

    if key is not None and out is None:
        raise Mistake("--key signs a certificate, and none is written.", do="Name its folder: --out DIR.")
    folder = find_acceptance(acceptance, open_store(store).root)
    running = find_running(folder)
    if out is None:
        _show(folder, form, junit, running, as_json=as_json)
    else:
        if running:
            raise Mistake(
                f"job {running[0]} of acceptance {folder.accept_id} is still under way: there is nothing to certify.",
                do="Wait for it, or without --out see how far it is.",
            )
        _write(folder, Path(out).expanduser(), form, key, junit, as_json=as_json)


# What an executor that could not be asked is taken to have said: then the records alone tell what there is.
UNASKED = ("no Slurm here to ask", "not submitted", "on ")


def find_running(folder: AcceptanceFolder) -> list[str]:
    """The jobs of an acceptance of which more may come, by their executors' word; who cannot be asked is told."""
    from hpcdl import jobs
    from hpcdl.cli import screen
    from hpcdl.errors import Failure

    try:
        standings = jobs.look(folder.runs.runs())
    except Failure as problem:
        screen.talk.print(f"whether its jobs have ended is not known: {problem}", soft_wrap=True)
        return []
    going = {run_id: standing.word for run_id, standing in standings.items() if not standing.over}
    unasked = [run_id for run_id, word in going.items() if word.startswith(UNASKED)]
    if unasked:
        told = f"{unasked[0]} ({going[unasked[0]]})"
        screen.talk.print(
            f"whether {len(unasked)} of its jobs have ended cannot be asked here: {told}; the records are taken as "
            "they are",
            soft_wrap=True,
        )
    return [run_id for run_id in going if run_id not in unasked]


def _show(
    folder: AcceptanceFolder, form: str | None, junit: str | None, running: list[str], *, as_json: bool
) -> None:
    from hpcdl.acceptance.concluding import conclude
    from hpcdl.certificate.junit import write_junit
    from hpcdl.certificate.pages import list_jobs
    from hpcdl.cli import screen
    from hpcdl.report.acceptances import build_certificate

    found = conclude(folder, final=not running, running=running)
    content = build_certificate(found.asked, found.verdict, found.evidence, jobs=list_jobs(folder))
    if junit is not None:
        write_junit(found.verdict, Path(junit).expanduser())
    screen.show(content, form or "terminal", as_json=as_json)


def _write(
    folder: AcceptanceFolder,
    out: Path,
    form: str | None,
    key: str | None,
    junit: str | None,
    *,
    as_json: bool,
) -> None:
    from hpcdl.certificate.junit import write_junit
    from hpcdl.certificate.pages import settle_forms
    from hpcdl.certificate.writing import write_certificate
    from hpcdl.cli import screen
    from hpcdl.report.controls import replace_controls

    forms = settle_forms([part.strip() for part in (form or FORMS).split(",") if part.strip()])
    private = None if key is None else Path(key).expanduser()
    written = write_certificate(folder, out.absolute(), forms=forms, key=private)
    if junit is not None:
        write_junit(written.certificate.verdict, Path(junit).expanduser())
    screen.show(written.report, as_json=as_json)
    for name, why in written.not_drawn.items():
        screen.talk.print(f"left out: {name}: {why}", soft_wrap=True)
    for path in written.left_out:
        screen.talk.print(f"not in it, as it is no plain file: {replace_controls(path)}", soft_wrap=True)
    place = replace_controls(str(out))
    screen.talk.print(f"written: {place}; check it: hpcdl accept verify {place}", soft_wrap=True)


def verify(
    certificate: Annotated[
        str, typer.Argument(help="What `hpcdl accept report --out` wrote.", metavar="DIR")
    ],
    *,
    allowed_signers: Annotated[
        str | None,
        typer.Option(
            "--allowed-signers", help="Who may sign, as ssh-keygen(1) has such a file.", metavar="FILE"
        ),
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--identity", help="Who of these must have signed.", metavar="NAME")
    ] = None,
    require_signature: Annotated[
        bool, typer.Option("--require-signature", help="What is unsigned does not hold.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="It may hold so many GiB.", metavar="GIB")
    ] = 16,
    as_json: JsonOption = False,
) -> None:
    """Check a certificate: its signature, its files, and that its verdict follows from its records."""
    from hpcdl.certificate.verifying import Trust, verify_certificate
    from hpcdl.cli import screen

    allowed = None if allowed_signers is None else Path(allowed_signers).expanduser()
    trust = Trust(allowed, identity, required=require_signature)
    verified = verify_certificate(Path(certificate).expanduser(), trust, limit_bytes=limit * GIB)
    screen.show(_describe(certificate, verified), as_json=as_json)
    if not verified.holds:
        raise typer.Exit(1)


def _describe(name: str, verified: Verified) -> Report:
    from hpcdl.report.verifications import Standing, describe_verification

    document = verified.certificate
    standing = Standing(
        name=name,
        outcome=document.verdict.outcome if document else None,
        holds=verified.holds,
        signed=any(one.name == "signature" and one.outcome == "held" for one in verified.checks),
        rehearsal=document.verdict.rehearsal if document else None,
    )
    return describe_verification(
        standing,
        [(one.name, one.outcome, one.detail) for one in verified.checks],
        [(one.requirement, one.unit, one.what, one.was, one.now) for one in verified.differences],
    )
