"""Starting, finding and ending the processes of the cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class ClusterError(RuntimeError):
    """The test cluster could not be brought to the state that was asked for."""


def run(argv: Sequence[str], *, check: bool = True, timeout_s: float = 60) -> str:
    """Run a command as a daemon of the cluster would, and return its standard output.

    Raises ClusterError with the command's own words when it fails and ``check`` is set.
    """
    done = subprocess.run(
        argv,
        env=layout.daemon_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        cwd="/",
    )
    if check and done.returncode != 0:
        raise ClusterError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


def start(argv: Sequence[str], log: Path) -> None:
    """Start a daemon that stays in the foreground, detached from this process; its output goes to ``log``."""
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", *argv],
            env=layout.daemon_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
            cwd="/",
        )


def await_that(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Wait until the condition holds; raises ClusterError that names ``what`` when it does not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {timeout_s:g} s for {what}; the logs are in {layout.LOG}")
        time.sleep(0.1)


def marked() -> set[int]:
    """The cluster's daemons on this machine, those of an earlier, crashed run included."""
    return {pid for pid in _all_pids() if layout.MARK in _environment(pid)}


def of_node(node: str) -> set[int]:
    """The processes inside a node: its holder, its slurmd, and what jobs run there."""
    return {int(pid) for pid in run(["ip", "netns", "pids", layout.namespace(node)], check=False).split()}


def command_line(pid: int) -> list[str]:
    """A process's arguments; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def name(pid: int) -> str:
    """A process's short name; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def end(pids: Iterable[int]) -> None:
    """End processes: TERM, two seconds of patience, then KILL; returns when all are gone."""
    pids = set(pids) - {os.getpid()}
    _signal(pids, signal.SIGTERM)
    deadline = time.monotonic() + 2
    while _alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill(pids)


def kill(pids: Iterable[int]) -> None:
    """KILL processes, as a power cut would, and wait until they are gone."""
    pids = set(pids) - {os.getpid()}
    _signal(pids, signal.SIGKILL)
    await_that(lambda: not _alive(pids), f"the end of processes {sorted(pids)}")


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _alive(pids: Iterable[int]) -> set[int]:
    # A zombie has ended; that its parent has not yet looked is not our concern.
    return {pid for pid in pids if _state(pid) not in {"", "Z", "X"}}


def _state(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rsplit(")", 1)[1].split()[0]
