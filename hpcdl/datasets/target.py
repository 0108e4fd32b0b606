"""The place where a data set is made: whether it may be, what was asked there, and that one alone makes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hpcdl.datasets.manifest import FILE, JOURNAL
from hpcdl.durable import publish
from hpcdl.errors import Mistake
from hpcdl.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcdl.datasets.making import Wanted


class Journal(Frozen):
    """What was asked of a making that is under way."""

    source: str
    asked: dict[str, Any]
    choice: str


@contextlib.contextmanager
def named(target: Path) -> Iterator[None]:
    """What the system says of a place where nothing can be made is said of the place that was asked for."""
    try:
        yield
    except OSError as problem:
        raise Mistake(
            f"{target}: cannot be made ({problem.strerror or problem}).", do="Name another place."
        ) from None


def check_target(source: Path, target: Path) -> None:
    """Whether there is room for it: nothing is there, or a making that can be gone on with.

    Raises:
        Mistake: What is there.
    """
    if target.resolve() == source.resolve() or source.resolve() in target.resolve().parents:
        raise Mistake(f"{target} lies in the data set that it is to be made of.", do="Name another place.")
    if target.exists() and not target.is_dir():
        raise Mistake(f"{target}: this is a file.", do="Name a folder that is empty or not there.")
    if (target / FILE).exists():
        raise Mistake(f"{target}: there is a data set already.", do="Remove it, or name another place.")
    if target.is_dir() and any(target.iterdir()) and not (target / JOURNAL).is_file():
        raise Mistake(
            f"{target}: there is something else in this folder.", do="Name one that is empty or not there."
        )


def begin(target: Path, source: Path, wanted: Wanted, choice: str) -> None:
    """Write down what is asked; `choice` is `digest_choice` of what it will be made of.

    Raises:
        Mistake: Something else was begun here.
    """
    asked = Journal(source=str(source.resolve()), asked=list_options(wanted), choice=choice)
    path = target / JOURNAL
    if path.exists():
        if path.read_text(encoding="utf-8") != asked.model_dump_json():
            raise Mistake(
                f"{target}: something else was begun here: from another source, with other options, or from files "
                "that have changed since.",
                do=f"{path} has them: give the same, or remove the folder.",
            )
        return
    target.mkdir(parents=True, exist_ok=True)
    publish(path, asked.model_dump_json())


@contextlib.contextmanager
def alone(target: Path) -> Iterator[None]:
    """Nobody else makes the same at the same time.

    Raises:
        Mistake: Somebody does.
    """
    descriptor = os.open(target, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Mistake(
                f"{target}: another process is making this data set.", do="Wait for it, or end it."
            ) from None
        except OSError:
            pass  # a file system without locks: then it is up to people
        yield
    finally:
        os.close(descriptor)


def list_options(wanted: Wanted) -> dict[str, Any]:
    """As one flat table, for people who look into dataset.json."""
    options: dict[str, Any] = asdict(wanted)
    changes = options.pop("change")
    size = changes.pop("size")
    flat: dict[str, Any] = options | changes
    return flat | {"size": f"{size[0]}x{size[1]}" if size else None}
