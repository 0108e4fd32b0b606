"""The data set itself: every file decoded, and its content as a digest, by which nodes are compared."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake
from hpcdl.worker.check.post import Seen
from hpcdl.worker.data.source import choose_threads
from hpcdl.worker.data.tree import read_tree
from hpcdl.worker.data.verify import find_damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpcdl.plan import Training
    from hpcdl.worker.check.post import Post
    from hpcdl.worker.data.tree import Tree

DIGITS = 16
BLOCK_BYTES = 2**20


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """`unreadable` files, `file`: the first of them and why, and a `digest` over names and contents.

    Raises:
        Mistake: There is no such folder, no image in it, or DALI is missing.
    """
    tree = find_tree(post)
    threads = choose_threads(post.launch.cpus_per_task, computes_on_cpu=False)
    paths = [f"{tree.root}/{file}" for file in tree.files]
    damaged = list(find_damaged(paths, threads, lambda *_: post.pulse.beat()))
    words = {"digest": digest_contents(tree.root, tree.files, post.pulse.beat), "files": str(len(paths))}
    if damaged:
        file, reason = damaged[0]
        words["file"] = f"{file}: {reason}".encode(errors="backslashreplace").decode()
    yield Seen(numbers={"unreadable": float(len(damaged))}, words=words)


def find_tree(post: Post) -> Tree:
    """The files that the check is about.

    Raises:
        Mistake: None are named, or they are not there.
    """
    if post.check.data_dir is None:
        raise Mistake("no data are named.", do="Name them with data_dir in the suite's [tests.node].")
    return read_tree(Path(post.check.data_dir), seed=0)


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
