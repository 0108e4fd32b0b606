"""The same Job on this machine: launch after launch, rank beside rank, without Slurm."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hpcdl.errors import Mistake
from hpcdl.store import LaunchFolder

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from hpcdl.plan import Job, Launch, Launcher
    from hpcdl.spec import Transport

LOOK_S = 0.1
# A supervisor needs 2 s at most to end its rank and close the records.
PATIENCE_S = 10.0


def choose_launcher(transport: Transport) -> Launcher:
    """The launcher is mpirun only where MPI is asked for by name: Gloo and torch need none.

    Raises:
        Mistake: MPI is asked for and mpirun is not on PATH.
    """
    if transport != "mpi":
        return "direct"
    if shutil.which("mpirun") is None:
        raise Mistake(
            "mpirun is not on PATH, and --transport mpi needs it here.",
            do="Install Open MPI (`apt-get install openmpi-bin`), or use --transport gloo.",
        )
    return "mpirun"


def count_gpus(devices: Path = Path("/dev")) -> int:
    """NVIDIA GPUs of this machine, by their device files: asking the driver would mean importing its library."""
    return sum(1 for path in devices.glob("nvidia[0-9]*") if path.name.removeprefix("nvidia").isdigit())


def run_job(job: Job, run_dir: Path, stop: threading.Event) -> None:
    """All launches in order. Returns when they have ended, or soon after `stop` is set.

    What happened stands in the records; nothing is returned, so that nobody can believe it instead.
    """
    for launch in job.launches:
        if stop.is_set():
            return
        _run_launch(launch, job.python, LaunchFolder(run_dir / launch.name), stop)


def _run_launch(launch: Launch, python: str, folder: LaunchFolder, stop: threading.Event) -> None:
    """A launch that cannot be started leaves no records but this word, in its log or else on stderr."""
    children: list[subprocess.Popen[bytes]] = []
    sampler = _start_sampler(launch, python, folder)
    try:
        with folder.output_path.open("ab", buffering=0) as log:
            for argv, environment in commands(launch, python, folder.path, os.environ):
                children.append(_start(argv, environment, log))
        _watch(children, stop, alone=launch.kind == "check")
    except OSError as problem:
        _complain(folder, f"hpcdl: the launch could not be started: {problem}\n")
    finally:
        _end(children)
        _end(sampler, signal.SIGUSR2)


def _start_sampler(launch: Launch, python: str, folder: LaunchFolder) -> list[subprocess.Popen[bytes]]:
    """The sampler of power beside the ranks; none where the plan has none, or it cannot be started."""
    if launch.power is None:
        return []
    try:
        with folder.sampler_output_path.open("ab", buffering=0) as log:
            argv = [python, "-m", "hpcdl.power.sampler", str(folder.path)]
            return [_start(argv, dict(os.environ), log)]
    except OSError as problem:
        _complain(folder, f"hpcdl: power is not sampled: {problem}\n")
        return []


def _complain(folder: LaunchFolder, words: str) -> None:
    try:
        with folder.output_path.open("a", encoding="utf-8", errors="replace") as log:
            log.write(words)
    except OSError:
        print(words, end="", file=sys.stderr)


def _start(argv: list[str], environment: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C is for us, and we end the ranks in good order.
    return subprocess.Popen(
        argv, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
    )


def commands(
    launch: Launch, python: str, folder: Path, environ: Mapping[str, str]
) -> list[tuple[list[str], dict[str, str]]]:
    """What to start: one supervisor for each rank, or one mpirun that does it.

    Slurm's variables are left out: inside somebody's allocation this is still a run on one machine, and
    Open MPI would take them as its orders.
    """
    clean = {name: value for name, value in environ.items() if not name.startswith("SLURM_")}
    supervisor = [python, "-m", "hpcdl.worker.supervisor", str(folder)]
    if launch.launcher == "mpirun":
        return [(_mpirun(launch.world_size) + supervisor, clean)]
    return [(supervisor, clean | _place(rank, launch.world_size)) for rank in range(launch.world_size)]


def _mpirun(ranks: int) -> list[str]:
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    # Waiting ranks yield: on a machine with as many ranks as cores they would eat each other's compute.
    polite = ["--mca", "mpi_yield_when_idle", "1", "--mca", "odls_base_sigkill_timeout", "2"]
    # Within one machine memory is the way, and Open MPI 5 complains where it finds no network beside it.
    near = ["--mca", "btl", "^tcp"]
    return ["mpirun", *root, "--oversubscribe", "--bind-to", "none", *polite, *near, "-np", str(ranks)]


def _place(rank: int, world_size: int) -> dict[str, str]:
    return {
        "HPCDL_RANK": str(rank),
        "HPCDL_LOCAL_RANK": str(rank),
        "HPCDL_WORLD_SIZE": str(world_size),
    }


def _watch(children: list[subprocess.Popen[bytes]], stop: threading.Event, *, alone: bool) -> None:
    """Until all have left, a person wants the end, or one has failed and the others wait for it."""
    while any(child.poll() is None for child in children):
        failed = any(child.poll() not in {None, 0} for child in children)
        if stop.wait(LOOK_S) or (failed and not alone):
            return


def _end(children: list[subprocess.Popen[bytes]], number: signal.Signals = signal.SIGTERM) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)
    deadline = time.monotonic() + PATIENCE_S
    for child in children:
        try:
            child.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
