"""What a certificate says of itself, and the checksums of its files."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from hpcdl.acceptance.folder import Acceptance
from hpcdl.acceptance.verdict import Verdict
from hpcdl.bundle.archive import LIMIT_BYTES, LIMIT_FILES, STEP
from hpcdl.errors import Failure, Mistake
from hpcdl.frozen import Frozen, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from hpcdl.frozen import Model

DOCUMENT, MANIFEST, SIGNATURE, RECORDS = "certificate.json", "manifest.json", "manifest.json.sig", "records"
# Of the two documents that are read whole, and of a signature: a thousand nodes of eight GPUs need some 50 MB.
LIMIT_DOCUMENT, LIMIT_SIGNATURE = 512 << 20, 1 << 16

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Signer(Frozen):
    """A key by its fingerprint, as `ssh-keygen -l` has it, and its kind: 'ED25519'."""

    fingerprint: Annotated[str, StringConstraints(pattern=r"^SHA256:[A-Za-z0-9+/]{20,64}=?$")]
    kind: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,32}$")]


class Certificate(Frozen):
    """`certificate.json`. `signer` None: unsigned. `final`: judged as having no reruns left."""

    kind: Literal["hpcdl.certificate"] = "hpcdl.certificate"
    schema_version: Literal[1] = 1
    hpcdl: str
    issued_utc: datetime
    signed: bool
    signer: Signer | None = None
    final: bool
    records_sha256: Sha256
    records_files: int
    records_bytes: int
    asked: Acceptance
    verdict: Verdict


class Manifest(Frozen):
    """`manifest.json`: what is signed. `files` are all but itself and its signature, by path."""

    kind: Literal["hpcdl.certificate.manifest"] = "hpcdl.certificate.manifest"
    schema_version: Literal[1] = 1
    hpcdl: str
    accept_id: str
    files: Annotated[dict[str, Sha256], Field(min_length=1)]


def read_document(folder: Path) -> Certificate:
    """What a certificate says.

    Raises:
        Mistake: There is none, or it is of another kind or version.
    """
    return _read(folder / DOCUMENT, Certificate)


def read_manifest(folder: Path) -> Manifest:
    """The checksums of a certificate, as its manifest has them.

    Raises:
        Mistake: There is none, or it is of another kind or version.
    """
    return _read(folder / MANIFEST, Manifest)


def _read(path: Path, model: type[Model]) -> Model:
    try:
        if path.stat().st_size > LIMIT_DOCUMENT:
            raise Mistake(f"{path} is larger than {LIMIT_DOCUMENT:,} bytes: this is no certificate.")
        data: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise Mistake(
            f"{path.parent} is no certificate: it has no readable {path.name}.",
            do="Name the folder that `hpcdl accept report --out` wrote.",
        ) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > 1:
        raise Mistake(
            f"{path.name}: this certificate is of schema version {version}, and this hpcdl reads 1.",
            do="Verify it with a newer hpcdl.",
        )
    return parse(model, data, where=path.name)


def list_files(folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> dict[str, int]:
    """All files of a folder that anybody may have made: path within it -> size in bytes.

    Raises:
        Mistake: There is something in it that is no plain file or folder, a name that no record has, or too much.
    """
    sizes: dict[str, int] = {}
    for name, facts in _walk(folder, ""):
        if not stat.S_ISREG(facts.st_mode):
            raise _refuse(name, "it is no plain file")
        sizes[name] = facts.st_size
        if len(sizes) > LIMIT_FILES:
            raise _refuse(name, f"there are more than {LIMIT_FILES:,} files")
    if sum(sizes.values()) > limit_bytes:
        raise Mistake(
            f"{folder} holds more than {limit_bytes:,} bytes.",
            do="Raise --limit if you trust where it comes from.",
        )
    return sizes


def _walk(folder: Path, inside: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as problem:
        raise Mistake(f"{folder} cannot be read ({problem.strerror}).") from None
    for entry in found:
        name = f"{inside}{entry.name}"
        if not STEP.fullmatch(entry.name) or not _is_text(entry.name):
            raise _refuse(name, "its name is not one that hpcdl writes")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{name}/")
        else:
            yield name, entry.stat(follow_symlinks=False)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(name: str, why: str) -> Mistake:
    return Mistake(
        f"this certificate is refused: {name!r}: {why}.",
        do="Only what `hpcdl accept report --out` wrote is verified.",
    )


def sum_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of files by their paths within a folder.

    Raises:
        Failure: One cannot be read.
    """
    return {name: sum_file(folder / name) for name in names}


def sum_file(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        Failure: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise Failure(f"{path} cannot be read ({problem.strerror}).") from None


def sum_records(sums: Mapping[str, str]) -> str:
    """One checksum over those of all records, by which a page on paper can be held against them.

    It is the SHA-256 of what `sha256sum` prints of them, sorted by path.
    """
    lines = (f"{sums[name]}  {name}\n" for name in sorted(sums) if name.startswith(f"{RECORDS}/"))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
