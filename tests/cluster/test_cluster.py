"""The cluster is what the other tests take it for: four nodes, PMIx, accounts, limits, and faults on demand."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster import daemons, layout, network, slurm_cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

WORLD = "from mpi4py import MPI; w = MPI.COMM_WORLD; print(w.size, w.allreduce(w.rank), flush=True)"


def client(*argv: str, fails: bool = False) -> str:
    """Run a Slurm command; returns what it printed (its complaint, where it is to fail)."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def submit(directory: Path, body: str, *options: str) -> str:
    """Run a batch script to its end; returns what it printed."""
    script, output = directory / "job.sh", directory / "job.out"
    script.write_text(f"#!/bin/bash\n{body}\n")
    client("sbatch", "--wait", f"--output={output}", f"--chdir={directory}", *options, str(script))
    return output.read_text()


def until(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.2)


def test_four_nodes_are_idle(cluster: ModuleType) -> None:
    until(lambda: daemons.states() == dict.fromkeys(layout.NODES, "idle"), "four idle nodes")


def test_a_job_runs_on_four_hosts(cluster: ModuleType, shared_dir: Path) -> None:
    # srun would otherwise take --export=NONE from sbatch, and start hostname without a PATH.
    body = "export SLURM_EXPORT_ENV=ALL\nsrun hostname"
    output = submit(shared_dir, body, "--nodes=4", "--export=NONE", "--account=bench")
    assert sorted(output.split()) == list(layout.NODES)


def test_pmix_makes_one_world(cluster: ModuleType, shared_dir: Path) -> None:
    pytest.importorskip("mpi4py")
    (shared_dir / "world.py").write_text(WORLD)
    output = submit(shared_dir, f"srun --mpi=pmix {sys.executable} world.py", "--nodes=4", "--exclusive")
    assert output.splitlines() == ["4 6"] * 4


def test_nodes_have_their_own_tmp_and_network(cluster: ModuleType) -> None:
    cluster.run_on_node("node1", ["touch", "/tmp/only-on-node1"])
    assert "only-on-node1" not in cluster.run_on_node("node2", ["ls", "/tmp"])
    assert cluster.run_on_node("node2", ["ls", "/sys/class/net"]).split() == ["eth0", "lo"]
    assert cluster.run_on_node("node2", ["getent", "hosts", "node3"]).split() == [
        layout.address("node3"),
        "node3",
    ]
    assert "cgroup" in cluster.run_on_node("node2", ["grep", "/sys/fs/cgroup", "/proc/self/mounts"])


def test_sacct_knows_the_job(cluster: ModuleType, shared_dir: Path) -> None:
    output = submit(shared_dir, "echo $SLURM_JOB_ID", "--job-name=counted")
    ask = ["sacct", "-X", "--parsable2", "--noheader", "--format=JobName,State,Account", "-j", output.strip()]
    until(lambda: client(*ask).split() == ["counted|COMPLETED|bench"], "sacct")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--account=nobody", "Invalid account"),
        ("--partition=nowhere", "invalid partition"),
        ("--nodes=5", "Node count specification invalid"),
        ("--time=1000 --partition=short", "time limit"),
    ],
)
def test_what_cannot_run_is_refused(cluster: ModuleType, option: str, words: str) -> None:
    complaint = client("sbatch", "--test-only", *option.split(), "--wrap=hostname", fails=True)
    assert words.lower() in complaint.lower()


def test_gpus_are_there_in_name(cluster: ModuleType, shared_dir: Path) -> None:
    assert submit(shared_dir, "echo $SLURM_GPUS_ON_NODE", "--gpus-per-node=1").strip() == "1"


def test_up_and_up_again_is_one_cluster(cluster: ModuleType) -> None:
    before = cluster.node_processes("node1")
    cluster.up()
    assert cluster.node_processes("node1") == before


def test_a_lost_node_is_noticed_and_comes_back(cluster: ModuleType, shared_dir: Path) -> None:
    cluster.stop_node("node4")
    try:
        assert cluster.node_processes("node4") == {}
        until(lambda: daemons.states()["node4"].startswith("down"), "the loss of node4", timeout_s=180)
        assert not cluster.is_up()
    finally:
        cluster.start_node("node4")
    assert cluster.is_up()


def test_a_slow_link_is_slow_until_it_is_restored(cluster: ModuleType) -> None:
    network.slow_link("node2", "10mbit")
    shaped = cluster.run_on_node("node2", ["tc", "qdisc", "show", "dev", "eth0"])
    network.restore_link("node2")
    assert "rate 10Mbit" in shaped
    assert "tbf" not in cluster.run_on_node("node2", ["tc", "qdisc", "show", "dev", "eth0"])


def test_a_crashed_cluster_comes_up_again(cluster: ModuleType) -> None:
    daemons.stop_all()
    assert not cluster.is_up()
    cluster.up()
    assert cluster.is_up()


def test_without_accounting_there_is_no_sacct_but_jobs_run(
    unaccounted_cluster: ModuleType, shared_dir: Path
) -> None:
    assert "disabled" in client("sacct", fails=True)
    assert submit(shared_dir, "hostname").strip() in layout.NODES


def test_a_checkout_below_tmp_is_on_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/tmp/hpcdl/.venv")
    assert "a /tmp of its own" in slurm_cluster.missing()
