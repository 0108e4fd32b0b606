"""What each host draws when nobody works on it, as `hpcdl power idle` has measured it: a file beside the site file."""

from __future__ import annotations

import contextlib
import fcntl
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from hpcdl.durable import publish_record
from hpcdl.errors import Failure, Mistake
from hpcdl.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Watts = Annotated[float, Field(ge=0)]


class HostIdle(Frozen):
    """One host: when and for how long it was measured, and its mean watts by source."""

    measured_utc: datetime
    seconds: Annotated[float, Field(gt=0)]
    idle_w: dict[str, Watts]


class Baseline(Frozen):
    """All hosts of a site that were measured."""

    schema_version: Literal[1] = 1
    hosts: dict[str, HostIdle] = Field(default_factory=dict)

    @property
    def idle_w(self) -> dict[str, dict[str, float]]:
        """Host -> source -> W."""
        return {host: dict(idle.idle_w) for host, idle in self.hosts.items()}


def path_beside(site: Path) -> Path:
    """`site.toml` -> `site.idle.json`, in the same folder."""
    return site.with_name(f"{site.stem}.idle.json")


def read(path: Path) -> Baseline:
    """What was measured so far; nothing where there is no such file.

    Raises:
        Mistake: The file is there and cannot be used.
    """
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Baseline()
    except OSError as problem:
        raise Mistake(f"{path} cannot be read ({problem.strerror}).") from None
    except ValidationError as problem:
        raise Mistake(
            f"{path} is not what `hpcdl power idle` writes: {problem.errors()[0]['msg']}.",
            do="Remove it and measure again: hpcdl power idle.",
        ) from None


def keep(path: Path, host: str, idle: HostIdle) -> None:
    """Put a host into the file, in place of what was known of it; other hosts stay.

    Raises:
        Mistake: What is there cannot be used.
        Failure: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Failure(f"{path.parent} cannot be made: {problem.strerror}.") from None
    with _alone(path):
        known = read(path)
        publish_record(path, known.model_copy(update={"hosts": known.hosts | {host: idle}}))


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One at a time: hosts that are measured together end together, and each would undo the other's entry."""
    try:
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as problem:
        raise Failure(f"{path.parent} cannot be written: {problem.strerror}.") from None
    with lock:
        # A file system without locks: the entry is written all the same.
        with contextlib.suppress(OSError):
            fcntl.lockf(lock, fcntl.LOCK_EX)
        yield
