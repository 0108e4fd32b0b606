"""The data set itself: every file decoded, and its content as a digest, by which nodes are compared."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.datasets.formats import find_format
from hpcdl.datasets.part import list_files
from hpcdl.datasets.recognition import recognise
from hpcdl.datasets.tree import read_tree
from hpcdl.errors import Mistake
from hpcdl.worker.check.post import Seen
from hpcdl.worker.data.source import choose_threads
from hpcdl.worker.data.verify import find_damaged, find_damaged_contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpcdl.datasets.recognition import Found
    from hpcdl.plan import Training
    from hpcdl.worker.check.post import Post

    Beat = Callable[[], None]

DIGITS = 16
BLOCK_BYTES = 2**20


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """`unreadable` files or samples, `file`: the first of them and why, and a `digest` over names and contents.

    Raises:
        Mistake: There is no such folder, no image in it, or DALI is missing.
    """
    found = find_data(post)
    threads = choose_threads(post.launch.cpus_per_task, computes_on_cpu=False)
    if found.format == "folder":
        damaged, words = _look_at_tree(found.root, threads, post.pulse.beat)
    else:
        damaged, words = _look_at_parts(found, threads, post.pulse.beat)
    if damaged:
        file, reason = damaged[0]
        words["file"] = f"{file}: {reason}".encode(errors="backslashreplace").decode()
    yield Seen(numbers={"unreadable": float(len(damaged))}, words=words)


Damaged = list[tuple[str, str]]  # a file or sample, and what is wrong with it


def _look_at_tree(root: Path, threads: int, beat: Beat) -> tuple[Damaged, dict[str, str]]:
    tree = read_tree(root, seed=0)
    paths = [f"{tree.root}/{file}" for file in tree.files]
    damaged = list(find_damaged(paths, threads, lambda *_: beat()))
    return damaged, {"digest": digest_contents(tree.root, tree.files, beat), "files": str(len(paths))}


def _look_at_parts(found: Found, threads: int, beat: Beat) -> tuple[Damaged, dict[str, str]]:
    damaged: Damaged = []
    samples = 0
    for path in found.parts.values():
        with contextlib.closing(find_format(found.format).open(path)) as part:
            listed = [(part, index) for index in range(len(part.labels))]
            damaged += find_damaged_contents(listed, threads, lambda *_: beat(), encoded=part.encoded)
            samples += len(listed)
    files = [str(Path(path).relative_to(found.root)) for path in list_paths(found)]
    return damaged, {"digest": digest_contents(found.root, files, beat), "files": str(samples)}


def find_data(post: Post) -> Found:
    """The data set that the check is about.

    Raises:
        Mistake: None is named, or it is not there.
    """
    if post.check.data_dir is None:
        raise Mistake("no data are named.", do="Name them with data_dir in the suite's [tests.node].")
    return recognise(Path(post.check.data_dir))


def list_paths(found: Found) -> list[str]:
    """All files of the data set.

    Raises:
        Mistake: There is no image in it.
    """
    if found.format == "folder":
        return [f"{found.root}/{file}" for file in read_tree(found.root, seed=0).files]
    return sorted({str(file) for path in found.parts.values() for file in list_files(path)})


def count_training(found: Found) -> int:
    """Samples to train on.

    Raises:
        Mistake: The data set cannot be read.
    """
    if found.format == "folder":
        return len(read_tree(found.root, seed=0).training)
    with contextlib.closing(find_format(found.format).open(found.parts["train"])) as part:
        return len(part.labels)


def digest_contents(root: Path, files: Sequence[str], beat: Callable[[], None] = lambda: None) -> str:
    """Sixteen hexadecimal digits of SHA-256 over name and content of each file, or that it cannot be read."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(file.encode(errors="surrogateescape") + b"\0" + _digest_file(root / file, beat))
    return total.hexdigest()[:DIGITS]


def _digest_file(path: Path, beat: Callable[[], None]) -> bytes:
    own = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                own.update(block)
                beat()
    except OSError:
        return b"unreadable"
    return own.digest()
