"""Records that the store does not take: kept on the node's own disk, and said in the log, whichever survives."""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def rescue(unwritten: Mapping[Path, bytes], why: Exception) -> Path | None:
    """Keep what could not be written where it belongs.

    A full store holds the log too, as a rule, and a job's own temporary folder goes with the job: so it is both.

    Args:
        unwritten: What is missing at the end of which file of a launch's folder.
        why: What the store said.

    Returns:
        The folder below $TMPDIR, with files of the same names; None where that cannot be written either.
    """
    kept = _keep(unwritten)
    # The log may lie on the same full disk.
    with contextlib.suppress(OSError):
        _tell(unwritten, kept, why)
    return kept


def _keep(unwritten: Mapping[Path, bytes]) -> Path | None:
    launch = next(iter(unwritten)).parent
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"hpcdl-{launch.parent.name}-{launch.name}-"))
        for path, data in unwritten.items():
            (folder / path.name).write_bytes(data)
    except OSError:
        return None
    return folder


def _tell(unwritten: Mapping[Path, bytes], kept: Path | None, why: Exception) -> None:
    launch = next(iter(unwritten)).parent
    where = f"they are in {kept} on {socket.gethostname()}, and here" if kept else "they are here only"
    print(f"hpcdl: records could not be kept ({why}); {where}.", file=sys.stderr)
    print(f"hpcdl: append each to the file of its name in {launch}.", file=sys.stderr)
    for path, data in unwritten.items():
        print(f"==> {path.name} <==", data.decode(errors="replace"), sep="\n", end="", file=sys.stderr)
    sys.stderr.flush()
