"""Is the software there that a job is to run in? Asked where the job is submitted, before a node-hour is spent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake
from hpcdl.script import LEADING_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.site import Site

# Types of file systems (proc(5), /proc/self/mounts) of which all nodes see the same; those of FUSE by their subtype.
SHARED = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.beegfs",
        "fuse.ceph",
        "fuse.cvmfs2",
        "fuse.daos",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "nfs",
        "nfs4",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb3",
        "wekafs",
    }
)


def check(site: Site, store: Path) -> None:
    """Look for the image, the virtual environment and the Spack environment that the site file names.

    Only what lies on a file system that the nodes share with this machine can be missed here: one of the network, or
    that of the store. The rest is left to the job, whose script looks before its first launch.

    Args:
        site: May name them.
        store: The folder of runs; all nodes see it.

    Raises:
        Mistake: One is not there.
    """
    for what, path, key in _list_wanted(site):
        if path.exists() or not _is_shared(path, store):
            continue
        raise Mistake(
            f"there is no {what} {path}.",
            do=f"Correct {key} in the site file; nothing was submitted.",
        )


def _list_wanted(site: Site) -> Iterator[tuple[str, Path, str]]:
    container, setup = site.container, site.setup
    if container is not None and container.image_is_path:
        yield from _expand("image", container.image, "[container] image")
    if setup.venv is not None:
        yield from _expand("virtual environment", f"{setup.venv}/bin/activate", "[setup] venv")
    if setup.spack_root is not None:
        yield from _expand("Spack", f"{setup.spack_root}/share/spack/setup-env.sh", "[setup] spack_root")
    if setup.spack is not None and "/" in setup.spack:
        yield from _expand("Spack environment", f"{setup.spack}/spack.yaml", "[setup] spack")


def _expand(what: str, text: str, key: str) -> Iterator[tuple[str, Path, str]]:
    """The path here; none where it names a variable that only the nodes have, or is not absolute."""
    match = LEADING_VARIABLE.match(text)
    if match is not None:
        value = os.environ.get(match["name"] or match["braced"] or "HOME")
        if not value:
            return
        text = value + text[match.end() :]
    if text.startswith("/"):
        yield what, Path(text), key


def _is_shared(path: Path, store: Path) -> bool:
    """Whether the nodes see the same there, by the nearest folder of it that exists; the root tells nothing."""
    nearest = _find_nearest(path)
    if nearest == Path(nearest.anchor):
        return False
    return nearest.stat().st_dev == _find_nearest(store).stat().st_dev or _find_type(nearest) in SHARED


def _find_nearest(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _find_type(path: Path, mounts: str = "/proc/self/mounts") -> str:
    """The type of the file system of the longest mount point above; empty where it cannot be told."""
    best, kind = "", ""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for _, point, found, *_ in (line.split(" ") for line in lines):
        # fstab(5): a space in a mount point is written in octal.
        place = point.replace("\\040", " ")
        if path.resolve().is_relative_to(place) and len(place) >= len(best):
            best, kind = place, found
    return kind
