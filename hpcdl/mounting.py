"""What of the host a container of a job is to see: its folders, and the variables whose values hold inside. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.plan import Job
    from hpcdl.site import Container, Runtime

# Where the script exports them, it is for the ranks; an image that sets one of them itself is to give way.
ALWAYS = ("PYTHONSAFEPATH", "PYTHONUNBUFFERED", "PYTHONNOUSERSITE")
NETWORK = ("OMPI_MCA_btl_tcp_if_include", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "HOROVOD_GLOO_IFACE")
# What an image has its own of: the host's would name folders that are not there.
OF_THE_IMAGE = frozenset({"PATH", "LD_LIBRARY_PATH"})
# What neither runtime has a way to write in a mount. Pyxis writes mounts into a file that a shell of Enroot's reads.
UNMOUNTABLE: dict[Runtime, re.Pattern[str]] = {
    "apptainer": re.compile(r"[,:\\]"),
    "pyxis": re.compile(r"[^\w@%+=./~-]"),
}
_LEADING_VARIABLE = re.compile(r"^\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})(?=/|$)", re.ASCII)


def list_own_mounts(job: Job) -> Iterator[tuple[str, ...]]:
    """The folder of the runs and those of the data, each at its own place: host, inside.

    The folder of the runs, not that of this run: what does not exist yet cannot be mounted.

    Raises:
        Mistake: One has a character that the runtime cannot mount.
    """
    container = job.site.container
    if container is None:
        return
    for folder in dict.fromkeys((str(Path(job.run_dir).parent), *_data_folders(job))):
        _check(container.runtime, folder, (folder,))
        yield folder, folder


def _data_folders(job: Job) -> Iterator[str]:
    for launch in job.launches:
        checked = launch.check.data_dir if launch.check else None
        yield from (folder for folder in (launch.train.data_dir, checked) if folder)


def list_named_mounts(container: Container) -> Iterator[tuple[str, ...]]:
    """Those of the site file: host, inside, and flags where there are some. A leading $NAME is the node's.

    Raises:
        Mistake: It has another shape, or a character that the runtime cannot mount.
    """
    for mount in container.mounts:
        host, *rest = mount.split(":")
        parts = (host, rest[0] if rest else host, *rest[1:])
        if len(parts) > 3 or not all(parts):
            _refuse(mount, "it is not HOST, HOST:INSIDE or HOST:INSIDE:ro")
        _check(container.runtime, mount, [_LEADING_VARIABLE.sub("", part) for part in parts])
        yield parts


def _check(runtime: Runtime, mount: str, parts: list[str] | tuple[str, ...]) -> None:
    found = next((found for part in parts if (found := UNMOUNTABLE[runtime].search(part))), None)
    if found is not None:
        _refuse(mount, f"{runtime} has no way to write {found[0]!r} in a mount")


def _refuse(mount: str, why: str) -> None:
    raise Mistake(
        f"{mount!r} cannot be mounted in the container: {why}.", do="Give the folder a plainer name."
    )


def list_names(job: Job) -> list[str]:
    """The variables that hold inside as they are set outside."""
    network = NETWORK if job.site.node.network else ()
    named = (name for name in job.site.setup.environment if name not in OF_THE_IMAGE)
    return list(dict.fromkeys((*ALWAYS, *network, *named)))
