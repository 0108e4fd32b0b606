"""A store that is full, or that nobody may write: what was measured is on the node and in the log, to the last line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcdl.worker.supervisor import FLUSH_S
from tests.faults.theatre import environment, supervise
from tests.unit.records_maker import write_run


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    """Leave no byte free."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 512):
                pass
        except OSError:
            pass


@pytest.fixture
def start(small_disk, tmp_path, monkeypatch):
    started = []
    (tmp_path / "node").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "node"))

    def start_supervisor(act, **changes):
        started.append(supervise(small_disk, act, **changes))
        return started[-1]

    yield start_supervisor
    for one in started:
        one.end()


def leave(supervised):
    """Exit code, what the log holds, and the folder that it names."""
    out, _ = supervised.process.communicate(timeout=60)
    found = re.search(r"they are in (\S+) on ", out)
    return supervised.process.returncode, out, Path(found[1]) if found else None


def put_back(rescued, folder):
    """What the log asks a person to do."""
    for path in rescued.iterdir():
        with (folder.path / path.name).open("ab") as file:
            file.write(path.read_bytes())


def remount(folder, mode):
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


@pytest.mark.parametrize(
    ("spoil", "mend", "words"),
    [
        (fill, lambda disk: (disk / "filler").unlink(), "No space left on device"),
        (lambda disk: remount(disk, "ro"), lambda disk: remount(disk, "rw"), "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_a_launch_whose_records_the_store_does_not_take_can_be_put_together_again(
    start, small_disk, spoil, mend, words
):
    supervised = start("complete", before=lambda: spoil(small_disk))
    code, out, rescued = leave(supervised)
    folder = supervised.folder
    assert (code, folder.exits(), folder.summary(), len(folder.steps())) == (1, [], None, 0)
    assert words in out
    names = {path.name.split("-")[0] for path in rescued.iterdir()}
    assert names == {"environment.json", "exit", "steps", "summary.json"}
    assert all(f"==> {path.name} <==\n{path.read_text()}" in out for path in rescued.iterdir())
    mend(small_disk)
    put_back(rescued, folder)
    torn = []
    assert folder.steps(torn).step.tolist() == list(range(6))
    assert folder.summary(torn).window.steps == 5
    assert folder.environment(torn).world_size == 1
    assert [record.outcome for record in folder.exits(torn)] == ["completed"]
    assert torn == []


def test_a_disk_that_fills_up_meanwhile_loses_no_step(start, small_disk):
    supervised = start("train for ever")
    supervised.wait_for_steps()
    fill(small_disk)
    here = len(supervised.folder.steps())
    # The rank makes fifty steps a second; none of these can be written.
    time.sleep(FLUSH_S + 0.5)
    supervised.process.send_signal(signal.SIGUSR2)
    code, _, rescued = leave(supervised)
    assert code == 128 + signal.SIGUSR2
    (small_disk / "filler").unlink()
    put_back(rescued, supervised.folder)
    [record] = supervised.folder.exits()
    steps = supervised.folder.steps().step.tolist()
    assert record.outcome == "stopped"
    assert steps == list(range(len(steps)))
    assert len(steps) > here + 50
    assert record.last_step - len(steps) <= 1


def test_where_nothing_can_be_written_at_all_the_log_is_left(start, small_disk, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(small_disk))
    # Python looks for another folder that it may write, where TMPDIR is full; here all others are this one.
    _, out, _ = leave(start("complete", before=lambda: fill(small_disk)))
    assert out.count('"outcome":"completed"') == 1
    assert out.count('"kind"') == 0
    assert len(re.findall(r'^\{"rank":0,"step":', out, re.MULTILINE)) == 6


def test_samples_of_power_are_kept_too(small_disk, tmp_path):
    run = write_run(small_disk, launcher="direct", model="lenet", batch=8, steps=5, warmup=1, power=True)
    [folder] = run.launches()
    fill(small_disk)
    (tmp_path / "node").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "hpcdl.power.sampler", str(folder.path), "--seconds", "1"],
        env=environment(None) | {"TMPDIR": str(tmp_path / "node")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr or "bytes were taken" in done.stderr
    [rescued] = (tmp_path / "node").iterdir()
    (small_disk / "filler").unlink()
    put_back(rescued, folder)
    torn = []
    [trace] = folder.traces(torn)
    assert torn == []
    assert len(trace.at_s) >= 5
    assert trace.closing is not None
