"""Signatures by `ssh-keygen -Y`, with the keys that people have: PROTOCOL.sshsig of OpenSSH, which has it since 8.1.

Nothing secret passes through here: ssh-keygen reads the key, and asks for its passphrase on the terminal itself.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.certificate.document import MANIFEST, SIGNATURE, Signer
from hpcdl.errors import Failure, Mistake

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAM = "ssh-keygen"
# What a signature is for: one made for something else, such as a commit, is no signature of a certificate.
NAMESPACE = "hpcdl-acceptance"
PATIENCE_S = 60
_LISTED = re.compile(r"\d+ (SHA256:\S+) .*\(([A-Za-z0-9-]+)\)")
_GOOD = re.compile(
    r'^Good "hpcdl-acceptance" signature .*?with ([A-Za-z0-9-]+) key (SHA256:\S+)$', re.MULTILINE
)
_TOO_OLD = re.compile(r"(unknown|illegal|invalid) option|unsupported operation for -Y", re.IGNORECASE)
INSTALL = "Install OpenSSH 8.1 or newer (package openssh-client or openssh-clients)."


@dataclass(frozen=True)
class Signed:
    """A signature that fits. `identity` is whose it is by the file of allowed signers; empty: nobody said so."""

    signer: Signer
    identity: str = ""


def identify(key: Path) -> Signer:
    """The fingerprint of a key, private or public.

    Raises:
        Mistake: It is no key, or there is no ssh-keygen.
    """
    if not key.is_file():
        raise Mistake(
            f"--key {key}: there is no such file.", do="Name a private key: --key ~/.ssh/id_ed25519."
        )
    done = _run(["-l", "-E", "sha256", "-f", str(key)])
    found = _LISTED.match(done.stdout)
    if done.returncode or found is None:
        raise Mistake(
            f"--key {key}: ssh-keygen cannot read it: {_last_line(done.stderr) or done.stdout.strip()}.",
            do="Name a private key, or make one: ssh-keygen -t ed25519.",
        )
    return Signer(fingerprint=found[1], kind=found[2])


def require_signing() -> None:
    """Whether ssh-keygen can sign at all.

    Raises:
        Mistake: There is none, or it is too old.
    """
    done = _run(["-Y", "check-novalidate"])
    if _TOO_OLD.search(done.stderr):
        raise Mistake("the ssh-keygen of this machine cannot sign files.", do=INSTALL)


def sign(folder: Path, key: Path, expected: Signer) -> None:
    """Sign the manifest of a folder. A passphrase, or a touch of a hardware key, is asked for on the terminal.

    Raises:
        Failure: ssh-keygen did not sign, or with another key than the pages name.
    """
    require_signing()
    argv = [PROGRAM, "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key.absolute()), MANIFEST]
    # Its streams are ours: what it asks must be seen, and it says itself what went wrong.
    code = subprocess.run(argv, cwd=folder, check=False).returncode
    if code or not (folder / SIGNATURE).is_file():
        raise Failure(
            f"ssh-keygen did not sign with {key} (exit code {code}); no certificate was written.",
            do="What it said stands above. Without --key the certificate is written UNSIGNED.",
        )
    signed = check(folder)
    if signed is None or signed.signer.fingerprint != expected.fingerprint:
        raise Failure(
            f"{key} signs with another key than the one that `ssh-keygen -l` names, {expected.fingerprint}; "
            "no certificate was written.",
            do=f"Does {key}.pub belong to it?",
        )


def check(folder: Path) -> Signed | None:
    """Whether the signature fits the manifest, whoever signed; None: it does not.

    Raises:
        Mistake: There is no ssh-keygen, or it is too old.
    """
    require_signing()
    return _read(_judge(folder, ["-Y", "check-novalidate"]))


def check_signer(folder: Path, allowed: Path, identity: str | None) -> Signed | None:
    """Whether the signature fits, and is by one who is allowed; None: it is not.

    Args:
        folder: With the manifest and its signature.
        allowed: The allowed signers, as ssh-keygen(1) describes that file.
        identity: Who must have signed; None: any of those.

    Raises:
        Mistake: There is no such file, or no ssh-keygen that can read it.
    """
    if not allowed.is_file():
        raise Mistake(f"--allowed-signers {allowed}: there is no such file.")
    require_signing()
    for name in [identity] if identity else _find_principals(folder, allowed):
        done = _judge(folder, ["-Y", "verify", "-f", str(allowed.absolute()), "-I", name])
        signed = _read(done)
        if signed is not None:
            return Signed(signed.signer, name)
    return None


def _find_principals(folder: Path, allowed: Path) -> list[str]:
    done = _run(["-Y", "find-principals", "-s", SIGNATURE, "-f", str(allowed.absolute())], folder)
    lines = done.stdout.splitlines() if not done.returncode else []
    return [name for line in lines for name in line.split(",") if name]


def _judge(folder: Path, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    with (folder / MANIFEST).open("rb") as manifest:
        return _run([*argv, "-n", NAMESPACE, "-s", SIGNATURE], folder, manifest.fileno())


def _read(done: subprocess.CompletedProcess[str]) -> Signed | None:
    found = _GOOD.search(done.stdout)
    if done.returncode or found is None:
        return None
    return Signed(Signer(fingerprint=found[2], kind=found[1]))


def _run(
    argv: Sequence[str], folder: Path | None = None, stdin: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [PROGRAM, *argv],
            cwd=folder,
            stdin=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
    except FileNotFoundError:
        raise Mistake(
            "there is no ssh-keygen on PATH, by which certificates are signed.", do=INSTALL
        ) from None
    except subprocess.TimeoutExpired:
        raise Failure(f"ssh-keygen did not answer within {PATIENCE_S} s.") from None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1].rstrip(".")
