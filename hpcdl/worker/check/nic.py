"""The network interface over which nodes talk: which it is, its driver and its speed."""

from __future__ import annotations

from pathlib import Path

NET = Path("/sys/class/net")
ROUTES = Path("/proc/net/route")


def choose_interface(planned: str | None, *, net: Path = NET, routes: Path = ROUTES) -> str | None:
    """The one that the plan names, else that of the default route; None: there is neither.

    NCCL, Gloo and MPI take a list of them, or the beginning of a name ('ib'): then it is the first that fits.
    """
    names = sorted(path.name for path in net.glob("*"))
    for part in (planned or "").split(","):
        wanted = part.strip().lstrip("=")
        fitting = [name for name in names if wanted and name.startswith(wanted)]
        if fitting:
            return wanted if wanted in fitting else fitting[0]
    return _find_default(routes)


def _find_default(routes: Path) -> str | None:
    """The kernel's table (man 5 proc, /proc/net/route): interface, destination, …; the default one's is zero."""
    try:
        lines = routes.read_text(encoding="ascii", errors="replace").splitlines()[1:]
    except OSError:
        return None
    found = [
        fields for line in lines if len(fields := line.split()) > 7 and fields[1] == fields[7] == "00000000"
    ]
    return found[0][0] if found else None


def describe_interface(name: str, net: Path = NET) -> str:
    """'mlx5_core, 100000 Mbit/s'. Linux, Documentation/ABI/testing/sysfs-class-net: -1 where there is no speed."""
    driver = net / name / "device" / "driver"
    kind = driver.resolve().name if driver.exists() else "no driver of its own"
    try:
        speed = int((net / name / "speed").read_text(encoding="ascii"))
    except (OSError, ValueError):
        speed = -1
    return f"{kind}, {speed} Mbit/s" if speed > 0 else f"{kind}, speed not told"
