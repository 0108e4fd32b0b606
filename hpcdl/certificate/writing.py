"""An acceptance -> its certificate: the records are copied first, so that what is judged is what is signed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import hpcdl
from hpcdl.acceptance.concluding import conclude as conclude_from_records
from hpcdl.acceptance.folder import AcceptanceFolder
from hpcdl.bundle.writing import copy_records
from hpcdl.certificate.document import (
    DOCUMENT,
    MANIFEST,
    RECORDS,
    SIGNATURE,
    Certificate,
    Manifest,
    list_files,
    sum_files,
    sum_records,
)
from hpcdl.certificate.pages import make_pages, write_pages
from hpcdl.certificate.signing import identify, require_signing, sign
from hpcdl.durable import publish_record
from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.acceptance.concluding import Conclude, Conclusion
    from hpcdl.certificate.document import Signer
    from hpcdl.report.content import Report


@dataclass(frozen=True)
class Written:
    """A certificate that was written.

    `not_drawn` are formats that this machine cannot make, with the reason; `left_out` paths that are no plain files.
    """

    path: Path
    certificate: Certificate
    report: Report
    not_drawn: Mapping[str, str]
    left_out: tuple[str, ...]


def write_certificate(
    folder: AcceptanceFolder,
    target: Path,
    *,
    forms: Sequence[str],
    key: Path | None = None,
    final: bool = True,
    conclude: Conclude = conclude_from_records,
) -> Written:
    """Write a certificate, whole or not at all.

    Args:
        folder: The acceptance.
        target: The certificate's folder, which must not be there yet, or be empty.
        forms: Formats of the pages.
        key: Signs it; None: every page says UNSIGNED.
        final: Judge as having no reruns left.
        conclude: What makes the verdict.

    Raises:
        Mistake: The place is taken, a record or the key cannot be read, or there is no ssh-keygen.
        Failure: It was not signed.
    """
    signer = None
    if key is not None:
        signer = identify(key)
        require_signing()
    _require_free(target)
    # Beside its place, so that it is moved there in one step.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as text:
        place = Path(text) / "certificate"
        left_out = copy_records(folder.path, place / RECORDS)
        records = AcceptanceFolder(place / RECORDS)
        found = conclude(records, final=final)
        certificate = _describe(place, found, signer, final=final)
        report = make_pages(records, found, certificate)
        not_drawn = write_pages(report, forms, place)
        publish_record(place / DOCUMENT, certificate)
        _list(place, found)
        if key is not None and signer is not None:
            sign(place, key, signer)
        _move(place, target)
    return Written(target, certificate, report, not_drawn, tuple(left_out))


def _require_free(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as problem:
        raise Mistake(f"{target} cannot be made ({problem.strerror}).", do="Name another folder.") from None
    if taken:
        raise Mistake(
            f"{target} is there already: a certificate is never written over.",
            do="Name a new folder with --out.",
        )


def _describe(place: Path, found: Conclusion, signer: Signer | None, *, final: bool) -> Certificate:
    sizes = {f"{RECORDS}/{name}": size for name, size in list_files(place / RECORDS).items()}
    return Certificate(
        hpcdl=hpcdl.__version__,
        issued_utc=datetime.now(UTC).replace(microsecond=0),
        signed=signer is not None,
        signer=signer,
        final=final,
        records_sha256=sum_records(sum_files(place, sizes)),
        records_files=len(sizes),
        records_bytes=sum(sizes.values()),
        asked=found.asked,
        verdict=found.verdict,
    )


def _list(place: Path, found: Conclusion) -> None:
    names = [name for name in list_files(place) if name not in {MANIFEST, SIGNATURE}]
    manifest = Manifest(
        hpcdl=hpcdl.__version__, accept_id=found.asked.accept_id, files=sum_files(place, names)
    )
    publish_record(place / MANIFEST, manifest)


def _move(place: Path, target: Path) -> None:
    try:
        if target.is_dir():
            target.rmdir()
        place.rename(target)
    except OSError as problem:
        raise Mistake(
            f"{target} cannot be written ({problem.strerror}).", do="Name another folder."
        ) from None
