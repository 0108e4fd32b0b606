"""hpcdl as a person on the cluster uses it: its command line, a site file, a store that all nodes see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.store import RunFolder, Store

if TYPE_CHECKING:
    from collections.abc import Callable

# Half of the machine's two cores for each node, and no GPU, whatever the cluster pretends to have.
SITE = """
name = "test-cluster"

[node]
cores = 1
gpus = 0
network = "eth0"

[setup.environment]
OMPI_ALLOW_RUN_AS_ROOT = "1"
OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = "1"
"""


@dataclass(frozen=True)
class Person:
    """Somebody with a site file and a store."""

    home: Path

    @classmethod
    def arrive(cls, home: Path) -> Person:
        # Where the tests run on a source tree that is not the installed one, the jobs are to run on it too.
        path = os.environ.get("PYTHONPATH")
        (home / "site.toml").write_text(SITE + (f"PYTHONPATH = {json.dumps(path)}\n" if path else ""))
        return cls(home)

    @property
    def store(self) -> Store:
        return Store(self.home / "runs")

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "HPCDL_SITE": str(self.home / "site.toml"),
            "HPCDL_STORE": str(self.store.root),
            "COLUMNS": "160",
        }

    @staticmethod
    def argv(*argv: str) -> list[str]:
        return [sys.executable, "-m", "hpcdl", *argv]

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """The command, under way; in a group of its own, as a shell would have it."""
        return subprocess.Popen(
            self.argv(*argv),
            env=self.environment(),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            # A shell's background jobs ignore Ctrl-C, and so would what these tests start from there.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def hpcdl(self, *argv: str, code: int = 0, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """The command to its end; it must leave with `code`, and never with a traceback."""
        child = self.start(*argv)
        try:
            out, err = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            raise AssertionError(f"hpcdl {argv} took over {timeout_s} s:\n{out}\n{err}") from None
        assert "Traceback" not in err, err
        assert child.returncode == code, f"hpcdl {argv} left with {child.returncode}:\n{out}\n{err}"
        return subprocess.CompletedProcess(argv, child.returncode, out, err)

    def submit(self, *argv: str) -> RunFolder:
        """Submit and come back at once."""
        facts = json.loads(self.hpcdl("submit", "--json", *argv).stdout)
        return RunFolder(Path(facts["directory"]))

    def report(self, run: RunFolder) -> dict[str, Any]:
        """The report's facts, as programs get them."""
        facts: dict[str, Any] = json.loads(self.hpcdl("report", run.run_id, "--json").stdout)
        return facts


def until(condition: Callable[[], object], what: str, *, timeout_s: float = 120) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.2)


def is_over(run: RunFolder) -> bool:
    """Slurm has nothing left of the run's job."""
    job = str(run.submission().slurm_job_id)
    done = subprocess.run(
        ["squeue", "--noheader", "--jobs", job, "--format=%T"], capture_output=True, text=True, check=False
    )
    return done.returncode != 0 or not done.stdout.strip()
