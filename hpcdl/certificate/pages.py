"""The pages of a certificate, from what it says and from its records alone: once when it is written, once to verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.certificate.document import sum_file
from hpcdl.errors import Mistake
from hpcdl.report import formats
from hpcdl.report.acceptances import build_certificate
from hpcdl.report.papers import JobLine, Papers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hpcdl.acceptance.concluding import Conclusion
    from hpcdl.acceptance.folder import AcceptanceFolder
    from hpcdl.certificate.document import Certificate
    from hpcdl.report.content import Report
    from hpcdl.store import RunFolder

# Formats that make one document for people; certificate.json is there always.
FORMS = ("markdown", "html", "pdf", "terminal")


def make_pages(folder: AcceptanceFolder, found: Conclusion, certificate: Certificate) -> Report:
    """The content of the pages, whatever the format.

    Args:
        folder: The records, as they are in the certificate.
        found: What follows from them.
        certificate: Who signs, and when it was issued.

    Raises:
        Mistake: A job cannot be read.
    """
    signer = certificate.signer
    papers = Papers(
        issued_utc=certificate.issued_utc,
        records_sha256=certificate.records_sha256,
        records_files=certificate.records_files,
        records_bytes=certificate.records_bytes,
        signer=f"{signer.fingerprint} ({signer.kind})" if signer else "",
    )
    return build_certificate(
        found.asked, found.verdict, found.evidence, jobs=list_jobs(folder), papers=papers
    )


def list_jobs(folder: AcceptanceFolder) -> list[JobLine]:
    """The jobs of an acceptance, with the checksums of their scripts.

    Raises:
        Mistake: A job cannot be read.
    """
    return [_describe_job(run) for run in folder.runs.runs()]


def _describe_job(run: RunFolder) -> JobLine:
    job, submission, script = run.job(), run.submission(), run.script_path
    number = submission.slurm_job_id if submission else None
    return JobLine(
        run_id=run.run_id,
        executor_id="" if number is None else str(number),
        launches=", ".join(dict.fromkeys(launch.test or launch.name for launch in job.launches)),
        nodes=job.nodes,
        script=script.name if script.is_file() else "none: on this machine",
        script_sha256=sum_file(script) if script.is_file() else "",
    )


def settle_forms(names: Sequence[str]) -> tuple[str, ...]:
    """The formats of pages by the names that were typed.

    Raises:
        UnknownName: There is no such format.
        Mistake: It makes no pages.
    """
    settled = [formats.settle_name(name) for name in names]
    for name in settled:
        if name not in FORMS and name != "json":
            raise Mistake(
                f"a certificate has no pages in {name}.",
                do=f"Take {', '.join(FORMS)}; certificate.json is there always.",
            )
    return tuple(name for name in dict.fromkeys(settled) if name in FORMS)


def name_page(form: str) -> str:
    """'certificate.md'."""
    return f"certificate{formats.FORMATS[form].suffix}"


def write_pages(report: Report, forms: Iterable[str], folder: Path) -> dict[str, str]:
    """Write the pages; format -> why it is left out, of those that cannot be drawn here."""
    left_out = {}
    for form in forms:
        try:
            written = formats.render(report, form)
        except Mistake as absent:
            left_out[form] = absent.what
            continue
        data = written if isinstance(written, bytes) else written.encode(errors="backslashreplace")
        (folder / name_page(form)).write_bytes(data)
    return left_out
