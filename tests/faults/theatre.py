"""Real processes with actors for ranks: how tests start them, watch them, and see that none is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl.local import commands
from hpcdl.store import Store
from tests.unit.records_maker import write_run

if TYPE_CHECKING:
    from hpcdl.store import LaunchFolder

ROOT = Path(__file__).parents[2]
STAGE = Path(__file__).parent / "stage"


def environment(act="complete", **acts_of_ranks):
    """The environment in which ranks act; `_1="fail"` is the act of rank 1 alone. Without an act, they train."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "HPCDL_"))}
    if act is None:
        return kept | {"PYTHONPATH": str(ROOT)}
    acts = {f"HPCDL_ACT{rank}": name for rank, name in acts_of_ranks.items()}
    return kept | {"PYTHONPATH": f"{STAGE}:{ROOT}", "HPCDL_ACT": act} | acts


def until(look, what, timeout_s=120.0):
    """The first true answer of `look`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{what}: not in {timeout_s:.0f} s")


def processes_of(path):
    """Process ids by module of those that serve a run or a launch: the ranks, their supervisors."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(str(path)) for word in argv):
            module = argv[argv.index("-m") + 1] if "-m" in argv else argv[0]
            found.setdefault(module, []).append(int(entry.parent.name))
    return found


def is_alive(pid):
    """Running, and not a zombie that nobody has buried yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def kill_all(path):
    for pids in processes_of(path).values():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass
class Supervised:
    """A supervisor with its acting rank."""

    folder: LaunchFolder
    process: subprocess.Popen

    def rank_pid(self):
        ranks = until(lambda: processes_of(self.folder.path).get("hpcdl.worker.rank"), "the rank")
        return ranks[0]

    def wait_for_steps(self, count=5):
        until(lambda: len(self.folder.steps()) >= count, f"{count} steps")

    def finish(self):
        """Exit code, exit record, and what was printed."""
        out, _ = self.process.communicate(timeout=60)
        [record] = self.folder.exits()
        return self.process.returncode, record, out

    def end(self):
        kill_all(self.folder.path)
        self.process.wait()
        self.process.stdout.close()


def supervise(tmp_path, act, *, before=None, **changes):
    """Start the supervisor of a launch of one rank whose plan has these changes; `before` is done just before."""
    run = write_run(tmp_path, launcher="direct", model="lenet", batch=8, steps=5, warmup=1)
    folder = run.launches()[0]
    launch = folder.plan().model_copy(update={"progress_timeout_s": 60.0} | changes)
    folder.plan_path.write_text(launch.model_dump_json())
    if before:
        before()
    [(argv, environ)] = commands(launch, sys.executable, folder.path, environment(act))
    process = subprocess.Popen(
        argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    return Supervised(folder, process)


class Person:
    """Somebody at a terminal of this machine, with a store."""

    def __init__(self, tmp_path):
        self.store = Store(tmp_path / "runs")
        self.home = tmp_path

    def environment(self, act, **acts_of_ranks):
        home = {"HPCDL_STORE": str(self.store.root), "HOME": str(self.home), "COLUMNS": "160"}
        return environment(act, **acts_of_ranks) | home

    def start(self, *words, act="complete", before=(), **acts_of_ranks):
        """A command in the background; `before` stands in front of it, as nohup does."""
        return subprocess.Popen(
            [*before, sys.executable, "-m", "hpcdl", *words],
            env=self.environment(act, **acts_of_ranks),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def hpcdl(self, *words, act="complete", **acts_of_ranks):
        """Exit code, stdout and stderr of a command that ends."""
        return finish(self.start(*words, act=act, **acts_of_ranks))

    def run(self):
        """The run that is under way, once it has been laid out."""
        return until(self.store.runs, "a run")[0]

    def wait_for(self, module, count=1):
        """Process ids of those that serve the run, once there are so many."""
        path = self.store.root
        return until(lambda: len(pids := processes_of(path).get(module, [])) >= count and pids, module)

    def wait_for_steps(self, count=5):
        launch = until(lambda: self.run().launches(), "launches")[0]
        until(lambda: len(launch.steps()) >= count, f"{count} steps")


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err
