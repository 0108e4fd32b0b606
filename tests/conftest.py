"""What all tests share: the Slurm cluster, and the rule that a required part may not be skipped.

HPCDL_REQUIRE=cluster,horovod makes a skip of a test with one of these marks a failure: a machine that
is there to run them shall not pass by leaving them out.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.cluster import layout, slurm_cluster

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path
    from types import ModuleType

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REQUIRABLE = ("cluster", "horovod", "dali", "gpu", "browser")


def pytest_configure(config: pytest.Config) -> None:
    if unknown := required() - set(REQUIRABLE):
        raise pytest.UsageError(f"HPCDL_REQUIRE: {', '.join(sorted(unknown))}: known are {REQUIRABLE}")
    hear_signals()


def hear_signals() -> None:
    """A shell makes what it starts in the background deaf to Ctrl-C, and nohup to a closed terminal.

    Whatever our tests start would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_itemcollected(item: pytest.Item) -> None:
    if "running_cluster" in getattr(item, "fixturenames", ()):
        item.add_marker("cluster")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    own = {mark.name for mark in item.iter_markers()}
    # A test for GPUs may be skipped where no GPU is required, whatever else it needs.
    marks = required() & own if "gpu" in required() or "gpu" not in own else set()
    if report.skipped and marks and not hasattr(report, "wasxfail"):
        _fail(report, marks)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file skipped by importorskip has no marks yet: there the reason names what is missing."""
    report = yield
    marks = {name for name in required() if name in str(report.longrepr)}
    if report.skipped and marks:
        _fail(report, marks)
    return report


def required() -> set[str]:
    """The marks whose tests must run here."""
    return {name.strip() for name in os.environ.get("HPCDL_REQUIRE", "").split(",")} - {""}


def _fail(report: pytest.TestReport | pytest.CollectReport, marks: set[str]) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"HPCDL_REQUIRE wants {', '.join(sorted(marks))} tests to run: {reason}"


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[ModuleType]:
    """The Slurm cluster, up; taken down at the end unless it was up before.

    For fixtures that outlive one test. A test itself wants `cluster`.
    """
    if reason := slurm_cluster.missing():
        pytest.skip(reason)
    found_up = slurm_cluster.is_up()
    slurm_cluster.up()
    yield slurm_cluster
    if not found_up:
        slurm_cluster.down()


@pytest.fixture
def cluster(running_cluster: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module tests.cluster.slurm_cluster, with this process a client of the cluster.

    The jobs that the test leaves are cancelled after it.
    """
    for name, value in running_cluster.environment().items():
        monkeypatch.setenv(name, value)
    before = _jobs()
    yield running_cluster
    if left := sorted(_jobs() - before):
        subprocess.run(["scancel", "--signal=KILL", "--full", *left], check=False)
        subprocess.run(["scancel", *left], check=False)
        # What still runs would take the cores of the next test, and a quiet cluster would not be quiet.
        deadline = time.monotonic() + 60
        while _jobs() & set(left) and time.monotonic() < deadline:
            time.sleep(0.2)


@pytest.fixture
def unaccounted_cluster(cluster: ModuleType) -> Iterator[ModuleType]:
    """The cluster without accounting: sacct and sacctmgr have nobody to ask."""
    cluster.up(accounting=False)
    yield cluster
    cluster.up()


@pytest.fixture
def shared_dir(cluster: ModuleType, request: pytest.FixtureRequest) -> Path:
    """An empty directory that every node sees under the same path; it stays until the cluster goes down."""
    directory = layout.SHARED / re.sub(r"\W+", "-", request.node.name)[:60]
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _jobs() -> set[str]:
    done = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
