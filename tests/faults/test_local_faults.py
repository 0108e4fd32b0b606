"""Ranks that are killed, hang, fail and leave, on this machine: each is recorded, and none is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from hpcdl.worker import rank as rank_process
from hpcdl.worker.beacon import Beacon
from tests.faults.theatre import (
    Person,
    environment,
    finish,
    is_alive,
    kill_all,
    processes_of,
    supervise,
    until,
)
from tests.photographs import make_tree


@pytest.fixture
def start(tmp_path):
    started = []

    def start_supervisor(act, **changes):
        started.append(supervise(tmp_path, act, **changes))
        return started[-1]

    yield start_supervisor
    for one in started:
        one.end()


# ---- One supervisor and its rank ----


def test_a_rank_that_completes(start):
    supervised = start("complete")
    code, record, _ = supervised.finish()
    assert (code, record.outcome, record.exit_code, record.signal) == (0, "completed", 0, None)
    assert (record.last_step, record.phase) == (6, "end")
    assert supervised.folder.steps().step.tolist() == list(range(6))
    assert supervised.folder.summary().window.steps == 5
    assert supervised.folder.environment().world_size == 1


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (6, "SIGABRT")])
def test_a_rank_that_is_killed_from_outside(start, number, name):
    supervised = start("train for ever")
    supervised.wait_for_steps()
    os.kill(supervised.rank_pid(), number)
    code, record, out = supervised.finish()
    assert (code, record.outcome, record.signal) == (128 + number, "killed", number)
    assert name in record.reason
    assert len(supervised.folder.steps()) > 4
    assert record.last_step >= supervised.folder.steps().step.max()
    assert f"rank 0 ({record.host}) killed: killed by signal {number}" in out
    assert supervised.folder.summary() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_supervisor_that_is_told_to_end(start, number):
    supervised = start("train for ever")
    supervised.wait_for_steps()
    rank = supervised.rank_pid()
    supervised.process.send_signal(number)
    code, record, _ = supervised.finish()
    assert (code, record.outcome) == (128 + number, "stopped")
    assert number.name in record.reason
    assert len(supervised.folder.steps()) >= 5
    assert not is_alive(rank)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_polite_signals_to_the_rank_alone_are_not_its_business(start, number):
    supervised = start("train for ever")
    supervised.wait_for_steps()
    os.kill(supervised.rank_pid(), number)
    supervised.wait_for_steps(len(supervised.folder.steps()) + 5)
    assert supervised.folder.exits() == []


def test_a_rank_that_hangs_in_c_leaves_its_stacks(start):
    supervised = start("hang in C", progress_timeout_s=5.0)
    code, record, _ = supervised.finish()
    assert (code, record.outcome, record.last_step, record.phase) == (124, "hung", 3, "exchange")
    assert record.reason == "no progress for 5 s in exchange"
    stacks = supervised.folder.stacks_path(0).read_text()
    assert re.search(r'File ".*acts\.py", line \d+ in hang_in_c', stacks)
    assert supervised.folder.steps().step.tolist() == [0, 1, 2]


def test_a_rank_that_hangs_and_cannot_be_asked(start):
    supervised = start("hang deaf", progress_timeout_s=5.0)
    code, record, _ = supervised.finish()
    assert (code, record.outcome, record.signal) == (124, "hung", None)
    assert len(supervised.folder.steps()) == 3


def test_a_rank_that_fails_says_why(start):
    code, record, out = start("fail").finish()
    assert (code, record.outcome, record.last_step) == (1, "failed", 1)
    assert record.reason == "ValueError: the act went wrong"
    assert "Traceback" in out


def test_a_rank_that_refuses(start):
    code, record, out = start("refuse").finish()
    assert (code, record.outcome) == (3, "refused")
    assert record.reason == "this stage is not fit. Find another."
    assert "Traceback" not in out


def test_a_rank_that_leaves_without_a_word(start):
    code, record, _ = start("leave").finish()
    assert (code, record.outcome) == (7, "failed")
    assert "exit code 7 and without a word" in record.reason


def test_a_rank_that_leaves_with_0_and_no_word_is_no_success(start):
    code, record, _ = start("leave well").finish()
    assert code != 0
    assert record.outcome == "failed"


def test_a_rank_that_crashes_leaves_its_stacks(start):
    supervised = start("crash")
    code, record, _ = supervised.finish()
    assert (code, record.outcome, record.signal) == (139, "killed", 11)
    assert "in crash" in supervised.folder.stacks_path(0).read_text()


def test_everything_that_was_said_before_a_kill_is_kept(start):
    supervised = start("flood")
    _, record, _ = supervised.finish()
    assert record.outcome == "killed"
    torn = []
    assert supervised.folder.steps(torn).step.tolist() == list(range(3000))
    assert torn == []


def test_children_of_a_rank_go_with_it(start):
    supervised = start("leave a child")
    code, record, out = supervised.finish()
    assert (code, record.outcome) == (0, "completed")
    child = int(re.search(r"child (\d+)", out)[1])
    until(lambda: not is_alive(child), "the end of the rank's child")


def test_a_rank_does_not_outlive_its_supervisor(start):
    supervised = start("train for ever")
    rank = supervised.rank_pid()
    supervised.wait_for_steps()
    supervised.process.kill()
    until(lambda: not is_alive(rank), "the end of the rank")
    assert not processes_of(supervised.folder.path)
    assert supervised.folder.exits() == []
    assert len(supervised.folder.steps()) >= 5


def test_a_rank_whose_supervisor_died_while_it_started_does_not_begin(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    handed = {
        rank_process.PIPE: writer,
        rank_process.STACKS: 2,
        rank_process.BEACON: Beacon.create().descriptor,
    }
    done = subprocess.run(
        [sys.executable, "-m", "hpcdl.worker.rank", str(tmp_path)],
        env=environment() | {name: str(number) for name, number in handed.items()},
        pass_fds=tuple(handed.values()),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


# ---- `hpcdl run`, with all that it starts ----

RUN = ("run", "smoke", "--ranks", "2", "--steps", "5", "--warmup", "1")


@pytest.fixture
def person(tmp_path):
    someone = Person(tmp_path)
    yield someone
    kill_all(someone.store.root)


def test_a_run_that_completes(person):
    code, out, err = person.hpcdl(*RUN, "--json")
    assert code == 0
    assert json.loads(out)
    assert "Traceback" not in err
    [launch] = person.run().launches()
    assert {record.outcome for record in launch.exits()} == {"completed"}
    assert len(launch.steps()) == 12


LENET = ("run", "smoke", "--ranks", "1", "--engine", "single", "--batch", "4", "--warmup", "1")


def test_lenet_trains_for_real(person):
    code, out, err = person.hpcdl(*LENET, "--steps", "3", act=None)
    assert code == 0, err
    assert "LeNet" in out
    [launch] = person.run().launches()
    assert list(
        zip(*(getattr(launch.steps(), name).tolist() for name in ("step", "warmup", "images")), strict=True)
    ) == [
        (0, True, 4),
        (1, False, 4),
        (2, False, 4),
        (3, False, 4),
    ]
    assert (launch.steps().loss > 0).all()
    assert (launch.steps().step_s > 0).all()
    assert {finding.outcome for finding in launch.environment().findings} == {"held"}


def test_ctrl_c_while_lenet_trains_for_real(person):
    process = person.start(*LENET, "--steps", "1000000", act=None)
    person.wait_for_steps()
    process.send_signal(signal.SIGINT)
    [launch] = assert_interrupted(person, process).launches()
    assert [record.outcome for record in launch.exits()] == ["stopped"]
    assert len(launch.steps()) >= 5


def test_ranks_that_are_told_to_end_one_after_the_other_are_all_stopped(person):
    """The second hears of it when its peer would long be gone, and would fail without it."""
    process = person.start(
        *LENET[:2],
        "--ranks",
        "2",
        "--engine",
        "ddp",
        "--batch",
        "4",
        "--warmup",
        "1",
        "--steps",
        "1000000",
        act=None,
    )
    person.wait_for_steps(20)
    first, second = person.wait_for("hpcdl.worker.supervisor", 2)
    os.kill(first, signal.SIGUSR2)
    time.sleep(0.25)
    os.kill(second, signal.SIGUSR2)
    process.communicate(timeout=60)
    [launch] = person.run().launches()
    assert [(record.outcome, record.exit_code) for record in launch.exits()] == [("stopped", 140)] * 2


def test_a_damaged_image_is_named_before_training(person, tmp_path):
    tree = make_tree(tmp_path / "tiles", classes=2, per_class=8, size=64)
    damaged = sorted(tree.glob("train/*/*.jpg"))[5]
    damaged.write_bytes(damaged.read_bytes()[:200])
    code, _, err = person.hpcdl(*LENET, "--data", tree, "--steps", "2", act=None)
    assert code == 2
    assert str(damaged) in err.replace("\n", "")
    assert len(person.run().launches()[0].steps()) == 0


def test_launches_run_one_after_another(person):
    code, _, _ = person.hpcdl("run", "smoke", "--ranks", "1,2", "--repeat", "2", "--steps", "2")
    assert code == 0
    counts = [len(launch.exits()) for launch in person.run().launches()]
    assert counts == [1, 2, 1, 2, 1], "the base is measured at the end too"


def assert_interrupted(person, process):
    code, out, err = finish(process)
    assert code == 130
    assert "Traceback" not in out + err
    run = person.run()
    until(lambda: not processes_of(person.store.root), "the end of all processes")
    assert run.cancellation() is not None
    assert all(launch.summary() is None for launch in run.launches())
    return run


def test_ctrl_c_in_the_steps(person):
    process = person.start(*RUN, act="train for ever")
    person.wait_for_steps()
    process.send_signal(signal.SIGINT)
    [launch] = assert_interrupted(person, process).launches()
    assert {record.outcome for record in launch.exits()} == {"stopped"}
    assert len(launch.steps()) >= 5


def test_ctrl_c_in_the_warm_up(person):
    process = person.start(*RUN, act="wait in warm-up")
    person.wait_for("hpcdl.worker.rank", 2)
    until(person.run().launches()[0].environment, "the environment's record")
    process.send_signal(signal.SIGINT)
    [launch] = assert_interrupted(person, process).launches()
    assert {record.outcome for record in launch.exits()} == {"stopped"}
    assert len(launch.steps()) == 0


def test_ctrl_c_while_the_ranks_start(person):
    process = person.start(*RUN, act="train for ever")
    person.wait_for("hpcdl.worker.supervisor", 1)
    process.send_signal(signal.SIGINT)
    assert_interrupted(person, process)


def test_ctrl_c_leaves_the_launches_that_follow_alone(person):
    process = person.start("run", "smoke", "--ranks", "1", "--repeat", "3", act="train for ever")
    person.wait_for_steps()
    process.send_signal(signal.SIGINT)
    first, *others = assert_interrupted(person, process).launches()
    assert len(first.exits()) == 1
    assert not any(launch.began() for launch in others)


def test_cancel_from_another_terminal(person):
    process = person.start(*RUN, act="train for ever")
    person.wait_for_steps()
    code, _, err = person.hpcdl("cancel", "last")
    assert code == 0
    assert person.run().run_id in err
    assert_interrupted(person, process)
    code, _, err = person.hpcdl("cancel", "last")
    assert code == 2
    assert "is over" in err


def test_a_closed_terminal_ends_the_ranks(person):
    process = person.start(*RUN, act="train for ever")
    person.wait_for_steps()
    process.send_signal(signal.SIGHUP)
    assert_interrupted(person, process)


def test_under_nohup_a_closed_terminal_ends_nothing(person):
    process = person.start(*RUN, act="train for ever", before=["nohup"])
    person.wait_for_steps()
    process.send_signal(signal.SIGHUP)
    [launch] = person.run().launches()
    person.wait_for_steps(len(launch.steps()) + 50)
    process.send_signal(signal.SIGTERM)
    assert_interrupted(person, process)


def test_ranks_do_not_outlive_the_command_that_started_them(person):
    process = person.start(*RUN, act="train for ever")
    person.wait_for_steps()
    process.kill()
    process.communicate()
    until(lambda: not processes_of(person.store.root), "the end of all processes")
    [launch] = person.run().launches()
    assert {record.outcome for record in launch.exits()} == {"stopped"}
    code, _, err = person.hpcdl("cancel")
    assert code == 2
    assert "its process is gone" in err


def test_a_rank_that_is_killed_is_the_culprit(person):
    process = person.start(*RUN, act="train for ever")
    person.wait_for_steps(20)
    [launch] = person.run().launches()
    until(lambda: set(launch.steps().rank.tolist()) == {0, 1}, "steps of both ranks")
    victim = person.wait_for("hpcdl.worker.rank", 2)[0]
    os.kill(victim, signal.SIGKILL)
    code, out, err = finish(process)
    assert code == 1
    assert "Traceback" not in err
    outcomes = {record.outcome: record for record in launch.exits()}
    assert set(outcomes) == {"killed", "stopped"}
    culprit = outcomes["killed"]
    assert f"rank {culprit.rank} ({culprit.host}): killed by signal 9 (SIGKILL)" in " ".join(out.split())
    assert "not published" in out
    assert "was not completed" in err
    assert not processes_of(person.store.root)


def test_a_rank_that_fails_ends_the_others_and_is_named(person):
    code, out, _ = person.hpcdl(*RUN, act="train for ever", _1="fail")
    assert code == 1
    assert "the act went wrong" in out
    [launch] = person.run().launches()
    assert [record.outcome for record in launch.exits()] == ["stopped", "failed"]
    code, out, _ = person.hpcdl("logs")
    assert code == 0
    assert "ValueError: the act went wrong" in out


def test_a_launch_that_refuses_itself_says_why(person):
    code, out, err = person.hpcdl(*RUN, act="refuse")
    assert code == 1
    assert "this stage is not fit" in out
    assert "Traceback" not in err
