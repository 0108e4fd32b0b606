"""Thirty-two processes that write one store at once, with readers beside them: nothing is lost, nothing mixed."""

from __future__ import annotations

import multiprocessing

from hpcdl.analysis.ending import JobState
from hpcdl.analysis.job import analyse_run
from hpcdl.durable import Appender
from hpcdl.store import Store
from tests.unit.records_maker import Recording, make_exit, make_step, record, write_run

FORK = multiprocessing.get_context("fork")
WRITERS = 32
ENDED = JobState(over=True, words="COMPLETED")


def write_whole_run(root, number, barrier):
    barrier.wait()
    run = write_run(
        root, run_id=f"20261122-141200-w{number:03d}", nodes=[2], model="lenet", batch=4, steps=20
    )
    record(run, 1, Recording())


def write_into_one(folder, rank, barrier):
    steps, exits = Appender(folder.steps_path("node1")), Appender(folder.exit_path("node1"))
    barrier.wait()
    for number in range(120):
        steps.add(make_step(rank, number))
        if number % 7 == 0:
            steps.flush()
    steps.flush()
    exits.add(make_exit(rank))
    exits.flush()


def run_all(target, *arguments):
    """So many processes at once; returns when all have left well."""
    barrier = FORK.Barrier(WRITERS)
    processes = [
        FORK.Process(target=target, args=(*arguments[:1], number, barrier)) for number in range(WRITERS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WRITERS


def test_thirty_two_runs_in_one_store(tmp_path):
    run_all(write_whole_run, tmp_path / "not" / "there" / "yet")
    runs = Store(tmp_path / "not" / "there" / "yet").runs()
    assert [run.run_id[-4:] for run in runs] == [f"w{number:03d}" for number in range(WRITERS)]
    for run in runs:
        result = analyse_run(run, ENDED)
        [launch] = result.launches
        assert (result.torn, launch.torn, launch.state) == ((), (), "completed")
        assert (len(launch.steps), launch.progress.steps_done) == (2 * 22, 20)


def test_thirty_two_ranks_of_one_host_in_one_launch(tmp_path):
    run = write_run(tmp_path, tasks_per_node=WRITERS, batch=1, cores=WRITERS)
    [folder] = run.launches()
    run_all(write_into_one, folder)
    torn = []
    steps = folder.steps(torn)
    assert [record.rank for record in folder.exits(torn)] == list(range(WRITERS))
    assert torn == []
    for rank in range(WRITERS):
        assert steps.of_rank(rank).step.tolist() == list(range(120))
