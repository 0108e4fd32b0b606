"""In what does this rank really run, and is it what the site file asks for?"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import hpcdl
from hpcdl.errors import Mistake, Refused
from hpcdl.records import Delivery, Finding, Missing
from hpcdl.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcdl.plan import Launch
    from hpcdl.site import Container, Setup
    from hpcdl.store import LaunchFolder

CHECK = "software as asked"
# What the job script leaves for the record: bytes, seconds since 1970, and path of the image on this node.
IMAGE = "HPCDL_IMAGE"
# Enroot's lock file, at the root of every container that it starts (enroot, src/runtime.sh).
ENROOT_LOCK = Path("/.lock")


def read_delivery(
    environ: Mapping[str, str] = os.environ, *, lock: Path = ENROOT_LOCK, mounts: str = "/proc/self/mountinfo"
) -> Delivery:
    """What is around this process: the image by its runtime's own marks, the rest by what each leaves behind.

    Apptainer and SingularityCE name the image in APPTAINER_CONTAINER and SINGULARITY_CONTAINER. Pyxis names it
    nowhere: its containers are Enroot's, known by a lock file and by the folder that is mounted as root.
    """
    root = _read_root(mounts)
    named = environ.get("APPTAINER_CONTAINER") or environ.get("SINGULARITY_CONTAINER")
    in_enroot = lock.exists() or Path(root).name.startswith("pyxis_")
    runtime = "apptainer" if named else "pyxis" if in_enroot else None
    size, modified, path = _read_image(environ)
    facts = {
        "image": named or path or Missing(missing="pyxis does not name the image inside of it"),
        "image_bytes": size,
        "image_modified_utc": modified,
    }
    return Delivery(
        python=sys.executable,
        prefix=sys.prefix,
        hpcdl=str(Path(hpcdl.__file__).parent),
        runtime=runtime,
        modules=tuple(name for name in environ.get("LOADEDMODULES", "").split(":") if name),
        spack=environ.get("SPACK_ENV") or None,
        venv=environ.get("VIRTUAL_ENV") or (sys.prefix if sys.prefix != sys.base_prefix else None),
        **(facts if runtime else {}),
    )


def _read_image(environ: Mapping[str, str]) -> tuple[int | Missing, datetime | Missing, str | None]:
    size, _, rest = environ.get(IMAGE, "").partition(" ")
    seconds, _, path = rest.partition(" ")
    if not (size.isdigit() and seconds.isdigit()):
        absent = Missing(missing="the image is no file that the node sees")
        return absent, absent, path or None
    return int(size), datetime.fromtimestamp(int(seconds), UTC), path or None


def _read_root(mounts: str) -> str:
    """Which folder of its file system is mounted as root (proc(5), mountinfo: the fourth field)."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    # The last one: what was mounted later lies above.
    return next((line.split(" ")[3] for line in reversed(lines) if line.split(" ")[4] == "/"), "")


def check_delivery(launch: Launch, folder: LaunchFolder, found: Delivery) -> Finding:
    """Does this rank run in what the site file asks for? Only a batch script enters images and environments.

    Raises:
        Refused: It does not.
    """
    if launch.launcher != "srun":
        return Finding(check=CHECK, outcome="held", detail=f"{found.prefix}, where it was started")
    try:
        site = RunFolder(folder.path.parent).job().site
    except Mistake as problem:
        return Finding(check=CHECK, outcome="could not look", detail=str(problem))
    problems = _compare_image(site.container, found) if site.container else _compare_setup(site.setup, found)
    if problems:
        raise Refused(
            f"{CHECK}: {'; '.join(problems)}.",
            do="See [container] and [setup] in the site file, and what `hpcdl logs` has of the start.",
        )
    unseen = [name for name in site.setup.modules if not _is_loaded(name, found.modules)]
    if unseen:
        detail = f"no module is loaded under the name {unseen[0]}: {', '.join(found.modules)} are"
        return Finding(check=CHECK, outcome="could not look", detail=detail)
    return Finding(check=CHECK, outcome="held", detail=describe_delivery(found))


def describe_delivery(found: Delivery) -> str:
    """In a few words, the innermost first."""
    if found.runtime:
        image = found.image if isinstance(found.image, str) else "an image that it does not name"
        return f"{image} by {found.runtime}"
    parts = [
        f"virtual environment {found.venv}" if found.venv else f"Python of {found.prefix}",
        f"Spack environment {found.spack}" if found.spack else "",
        f"modules {', '.join(found.modules)}" if found.modules else "",
    ]
    return ", ".join(part for part in parts if part)


def _compare_image(container: Container, found: Delivery) -> list[str]:
    asked = f"image {container.image} by {container.runtime} was asked for"
    if found.runtime is None:
        return [f"{asked}, and this rank runs on the host itself"]
    if found.runtime != container.runtime:
        return [f"{asked}, and {found.runtime} started this rank"]
    if container.runtime == "apptainer" and container.image_is_path and isinstance(found.image, str):
        path = _expand(container.image)
        _, _, resolved = _read_image(os.environ)
        if found.image not in {path, os.path.normpath(path), resolved}:
            return [f"{asked}, and this rank runs in {found.image}"]
    return []


def _compare_setup(setup: Setup, found: Delivery) -> list[str]:
    problems = []
    if setup.venv is not None:
        # Where the site names another Python besides, that one has a prefix of its own.
        active = found.prefix if setup.python is None else found.venv
        if active is None or not _is_same(active, _expand(setup.venv)):
            problems.append(
                f"virtual environment {setup.venv} was asked for, and this rank runs in {active or 'none'}"
            )
    if setup.spack is not None and not _is_spack(setup.spack, found.spack):
        active = found.spack or "none"
        problems.append(f"Spack environment {setup.spack} was asked for, and {active} is active")
    if setup.modules and not found.modules:
        problems.append(f"modules {', '.join(setup.modules)} were asked for, and none is loaded")
    return problems


def _is_spack(asked: str, active: str | None) -> bool:
    """Spack names the folder of the active environment; one with a name lies in a folder of that name."""
    if active is None:
        return False
    return _is_same(active, _expand(asked)) if "/" in asked else Path(active).name == asked


def _is_loaded(asked: str, loaded: tuple[str, ...]) -> bool:
    return any(name == asked or name.startswith(f"{asked}/") for name in loaded)


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _expand(path: str) -> str:
    return str(Path(os.path.expandvars(path)).expanduser())
