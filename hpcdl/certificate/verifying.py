"""A certificate -> whether it is what was written and signed, and whether its verdict follows from its records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import hpcdl
from hpcdl.acceptance.concluding import conclude as conclude_from_records
from hpcdl.acceptance.folder import AcceptanceFolder
from hpcdl.bundle.archive import LIMIT_BYTES
from hpcdl.certificate.differing import find_differences
from hpcdl.certificate.document import (
    LIMIT_SIGNATURE,
    MANIFEST,
    RECORDS,
    SIGNATURE,
    list_files,
    read_document,
    read_manifest,
    sum_files,
    sum_records,
)
from hpcdl.certificate.pages import FORMS, make_pages, name_page
from hpcdl.certificate.signing import check, check_signer
from hpcdl.errors import HpcdlError, Mistake
from hpcdl.report import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hpcdl.acceptance.concluding import Conclude, Conclusion
    from hpcdl.certificate.differing import Difference
    from hpcdl.certificate.document import Certificate, Manifest

Outcome = Literal["held", "failed", "could not look"]
LAUNCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SHOWN = 10
# Of a page in HTML: the program that draws, which is another one on another machine, and the policy with its hash.
_FOREIGN = re.compile(rb'<script>.*?</script>|<meta http-equiv="Content-Security-Policy"[^>]*>', re.DOTALL)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. 'Could not look' is not 'held'."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class Trust:
    """Whose signature is asked for: of the allowed signers of a file, of one of them by name, or of anybody."""

    allowed: Path | None = None
    identity: str | None = None
    required: bool = False


@dataclass(frozen=True)
class Verified:
    """What was found. `certificate` is None where it cannot be read; `differences` are those of the two verdicts."""

    path: Path
    manifest: Manifest
    certificate: Certificate | None
    checks: tuple[Check, ...]
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing that was looked at failed."""
        return all(check.outcome != "failed" for check in self.checks)


def verify_certificate(
    folder: Path,
    trust: Trust = Trust(),
    *,
    limit_bytes: int = LIMIT_BYTES,
    conclude: Conclude = conclude_from_records,
) -> Verified:
    """Check a certificate that anybody may have made: signature, checksums, and its verdict against its records.

    Args:
        folder: The certificate.
        trust: Whose signature is asked for.
        limit_bytes: It may hold as much.
        conclude: What makes the verdict.

    Raises:
        Mistake: It is no certificate, or holds what no certificate does; there is no file of allowed signers, or no
            ssh-keygen for a certificate that is signed.
    """
    if not folder.is_dir():
        raise Mistake(f"{folder} is no folder.", do="Name the folder that `hpcdl accept report --out` wrote.")
    sizes = list_files(folder, limit_bytes=limit_bytes)
    manifest = read_manifest(folder)
    sums = sum_files(folder, (name for name in sizes if name not in {MANIFEST, SIGNATURE}))
    document = _read(folder)
    certificate = None if isinstance(document, Check) else document
    checks = [*_check_signature(folder, sizes, certificate, trust), _check_sums(manifest, sums)]
    if isinstance(document, Check):
        return Verified(folder, manifest, None, (*checks, document), ())
    checks.append(_check_papers(folder, document, manifest, sums, sizes))
    found = _conclude(folder, document, conclude)
    if isinstance(found, Check):
        return Verified(folder, manifest, document, (*checks, found), ())
    differences = tuple(find_differences(document.verdict, found.verdict))
    checks += [_judge(document, differences), *_check_pages(folder, document, found, sizes)]
    return Verified(folder, manifest, document, tuple(checks), differences)


def _read(folder: Path) -> Certificate | Check:
    try:
        return read_document(folder)
    except Mistake as problem:
        return Check("certificate.json", "failed", problem.what)


def _check_signature(
    folder: Path, sizes: Mapping[str, int], certificate: Certificate | None, trust: Trust
) -> Iterator[Check]:
    wanted = trust.required or trust.allowed is not None or trust.identity is not None
    claimed = certificate.signer if certificate else None
    if SIGNATURE not in sizes:
        if claimed is not None or (certificate and certificate.signed):
            yield Check("signature", "failed", f"it says that it is signed, and {SIGNATURE} is missing")
        else:
            yield Check(
                "signature", "failed" if wanted else "could not look", "UNSIGNED: nobody vouches for it"
            )
        return
    if sizes[SIGNATURE] > LIMIT_SIGNATURE:
        yield Check("signature", "failed", f"{SIGNATURE} is larger than any signature")
        return
    signed = check(folder)
    if signed is None:
        yield Check("signature", "failed", f"{SIGNATURE} does not fit {MANIFEST}, or is for something else")
        return
    key = f"{signed.signer.fingerprint} ({signed.signer.kind})"
    if claimed is not None and claimed.fingerprint != signed.signer.fingerprint:
        yield Check("signature", "failed", f"signed with {key}, and the pages name {claimed.fingerprint}")
    else:
        later = "" if claimed else "; the pages say UNSIGNED: it was signed later"
        yield Check("signature", "held", f"fits {MANIFEST}, by {key}{later}")
    yield _check_identity(folder, trust, key)


def _check_identity(folder: Path, trust: Trust, key: str) -> Check:
    if trust.allowed is None:
        detail = f"whose key that is, nobody has said: name a file of allowed signers ({key})"
        return Check("signer", "failed" if trust.identity else "could not look", detail)
    signed = check_signer(folder, trust.allowed, trust.identity)
    if signed is None:
        who = f"{trust.identity!r}" if trust.identity else "any signer"
        return Check("signer", "failed", f"{key} is no key of {who} in {trust.allowed}")
    return Check("signer", "held", f"{signed.identity}, by {trust.allowed}")


def _check_sums(manifest: Manifest, sums: Mapping[str, str]) -> Check:
    listed = manifest.files
    troubles = [
        *(f"{name} is missing" for name in sorted(listed.keys() - sums.keys())),
        *(f"{name} is not listed" for name in sorted(sums.keys() - listed.keys())),
        *(
            f"{name} has changed"
            for name in sorted(sums.keys() & listed.keys())
            if sums[name] != listed[name]
        ),
    ]
    if not troubles:
        return Check("checksums", "held", f"{len(sums):,} files are those of {MANIFEST}")
    more = f" and {len(troubles) - SHOWN} more" if len(troubles) > SHOWN else ""
    return Check("checksums", "failed", "; ".join(troubles[:SHOWN]) + more)


def _check_papers(
    folder: Path,
    certificate: Certificate,
    manifest: Manifest,
    sums: Mapping[str, str],
    sizes: Mapping[str, int],
) -> Check:
    """That certificate.json speaks of the records beside it."""
    records = {name: size for name, size in sizes.items() if name.startswith(f"{RECORDS}/")}
    told = (certificate.records_sha256, certificate.records_files, certificate.records_bytes)
    troubles = []
    if told != (sum_records(sums), len(records), sum(records.values())):
        troubles.append("the records are not those that it names by their checksum, number and size")
    if manifest.accept_id != certificate.asked.accept_id:
        troubles.append(f"{MANIFEST} is of acceptance {manifest.accept_id}")
    if certificate.signed != (certificate.signer is not None):
        troubles.append("it does not say clearly whether it is signed")
    try:
        if AcceptanceFolder(folder / RECORDS).asked() != certificate.asked:
            troubles.append(f"what was asked is not what {RECORDS}/acceptance.json says")
    except HpcdlError as problem:
        troubles.append(problem.what)
    asked = certificate.asked
    # Another version may know more keys, all of which count.
    if asked.hpcdl == hpcdl.__version__ and asked.suite.digest != asked.suite_digest:
        troubles.append("its suite is not the one that was begun with, by that suite's digest")
    if troubles:
        return Check("certificate.json", "failed", "; ".join(troubles))
    return Check("certificate.json", "held", f"of acceptance {manifest.accept_id} and these records")


def _conclude(folder: Path, certificate: Certificate, conclude: Conclude) -> Conclusion | Check:
    """What follows from the records; no name in them leads out of the folder."""
    records = AcceptanceFolder(folder / RECORDS)
    try:
        for run in records.runs.runs():
            for launch in run.job().launches:
                if not LAUNCH.fullmatch(launch.name):
                    raise Mistake(f"run {run.run_id} has a launch named {launch.name!r}.")
        return conclude(records, final=certificate.final)
    except HpcdlError as problem:
        return Check("verdict", "failed", f"no verdict can be made from the records: {problem.what}")


def _judge(certificate: Certificate, differences: tuple[Difference, ...]) -> Check:
    version = hpcdl.__version__
    other = (
        "" if certificate.hpcdl == version else f" (written by hpcdl {certificate.hpcdl}, this is {version})"
    )
    telling = [one for one in differences if not (other and one.wording)]
    if telling:
        return Check(
            "verdict", "failed", f"does not follow from the records, in {len(telling):,} places{other}"
        )
    decisions = sum(len(one.decisions) for one in certificate.verdict.requirements)
    return Check(
        "verdict", "held", f"{decisions:,} decisions made again from the records are the same{other}"
    )


def _check_pages(
    folder: Path, certificate: Certificate, found: Conclusion, sizes: Mapping[str, int]
) -> Iterator[Check]:
    """Pages are made again where this version of hpcdl wrote them."""
    there = [form for form in FORMS if name_page(form) in sizes]
    if certificate.hpcdl != hpcdl.__version__:
        detail = f"hpcdl {certificate.hpcdl} wrote them: only their checksums are known"
        yield from (Check(name_page(form), "could not look", detail) for form in there)
        return
    try:
        report = make_pages(AcceptanceFolder(folder / RECORDS), found, certificate)
    except HpcdlError as problem:
        yield Check("pages", "failed", problem.what)
        return
    for form in there:
        name = name_page(form)
        if form == "pdf":
            yield Check(name, "could not look", "a PDF is not made again: only its checksum is known")
            continue
        try:
            made = formats.render_text(report, form).encode(errors="backslashreplace")
        except Mistake as absent:
            yield Check(name, "could not look", f"{absent.what.rstrip('.')}: only its checksum is known")
            continue
        yield _compare_page(name, form, (folder / name).read_bytes(), made)


def _compare_page(name: str, form: str, kept: bytes, made: bytes) -> Check:
    if kept == made:
        return Check(name, "held", "follows from the records")
    if form == "html" and _FOREIGN.sub(b"", kept) == _FOREIGN.sub(b"", made):
        detail = "its words follow from the records; of the program that draws only the checksum is known"
        return Check(name, "could not look", detail)
    return Check(name, "failed", "does not follow from the records")
