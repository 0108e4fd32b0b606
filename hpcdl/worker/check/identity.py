"""What a node is: by which nodes of one fleet are told to be alike."""

from __future__ import annotations

import platform
import resource
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.processors import list_online
from hpcdl.records import Missing
from hpcdl.worker.cgroups import read_memory_limit, read_quota
from hpcdl.worker.check.gpus import list_gpus
from hpcdl.worker.check.nic import choose_interface, describe_interface
from hpcdl.worker.check.post import Seen
from hpcdl.worker.check.software import read_software
from hpcdl.worker.environment import read_driver, read_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcdl.plan import Training
    from hpcdl.records import Host, Reading
    from hpcdl.worker.check.gpus import Gpu
    from hpcdl.worker.check.post import Post

SYSFS = Path("/sys/devices/system/cpu")
OS_RELEASE = Path("/etc/os-release")
NONE = "none"
# What a job can run into, in the words of `man 2 getrlimit`.
LIMITS = {
    "open files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "locked memory": resource.RLIMIT_MEMLOCK,
}


def look(post: Post, training: Training | None) -> Iterator[Seen]:  # noqa: ARG001
    """Numbers and words of the node as its first rank sees it; what cannot be told is left out, or missing.

    Where there is no GPU, that is known: words are 'none', and `gpus` is 0. `boot_id` tells machines apart, `nic_name`
    and `version.<library>` name what differs where `nic` or `versions` do.
    """
    host, gpus = read_host(post.place, post.device), list_gpus()
    interface = choose_interface(post.launch.network)
    software = read_software()
    words = {
        "cpu": host.cpu,
        "kernel": platform.release(),
        "system": read_system(),
        "governor": read_governor(list_online()),
        "nic": describe_interface(interface) if interface else NONE,
        "nic_name": interface or NONE,
        "limits": describe_limits(),
        "vector": host.vector or "",
        "boot_id": host.boot_id,
        **describe_gpus(gpus, read_driver()),
        **software.words,
    }
    yield Seen(numbers=_count(host, len(gpus)), words={key: word for key, word in words.items() if word})


def _count(host: Host, gpus: int) -> dict[str, Reading]:
    untold = Missing(missing="the kernel does not tell where its hardware threads are")
    return {
        "sockets": untold if host.sockets_of_host is None else float(host.sockets_of_host),
        "cores": untold if host.cores_of_host is None else float(host.cores_of_host),
        "cores_visible": float(host.cores_visible),
        "cpu_limit_cores": read_quota().cores,
        "memory_bytes": Missing(missing="the kernel does not tell")
        if host.memory_bytes is None
        else float(host.memory_bytes),
        "memory_limit_bytes": read_memory_limit(),
        "gpus": float(gpus),
    }


def describe_gpus(gpus: Sequence[Gpu], driver: str | None) -> dict[str, str]:
    """Distinct names and VBIOS versions; a word that nobody could read is empty."""
    if not gpus:
        return {"gpu": NONE, "driver": NONE, "vbios": NONE}
    return {
        "gpu": _join(gpu.name for gpu in gpus),
        "driver": driver or "",
        "vbios": _join(gpu.vbios for gpu in gpus) if all(gpu.vbios for gpu in gpus) else "",
    }


def _join(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words)))


def read_system(path: Path = OS_RELEASE) -> str:
    """'Debian GNU/Linux 12 (bookworm)' (man 5 os-release); empty where the file is not there."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    for key in ("PRETTY_NAME", "NAME"):
        if key in named:
            return _unquote(named[key])
    return ""


def _unquote(text: str) -> str:
    """The file is shell."""
    try:
        return "".join(shlex.split(text))
    except ValueError:
        return text


def read_governor(cpus: Iterable[int], sysfs: Path = SYSFS) -> str:
    """'performance'; all of them where CPUs differ; 'none' where nothing governs the clock, as in virtual machines."""
    found = set()
    for cpu in cpus:
        try:
            text = (sysfs / f"cpu{cpu}" / "cpufreq" / "scaling_governor").read_text(encoding="ascii")
        except (OSError, ValueError):
            continue
        found.add(text.strip())
    return _join(found) or NONE


def describe_limits() -> str:
    """'open files 1048576, processes unlimited, locked memory unlimited': those that hold now."""
    return ", ".join(
        f"{name} {_name_limit(resource.getrlimit(number)[0])}" for name, number in LIMITS.items()
    )


def _name_limit(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)
