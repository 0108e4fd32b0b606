"""The directory of runs: claims, atomic publishing, appending, finding, and reading what is damaged."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hpcdl import store
from hpcdl.durable import Appender, claim, publish, publish_record
from hpcdl.errors import Failure, HpcdlError, Mistake
from hpcdl.records import Missing, Step, Stretch, Submission, Summary, Window
from hpcdl.store import LaunchFolder, Store, default_root, new_run_id
from tests.unit.records_maker import record, write_run

NO_SPACE = r"No space left|only \d+ of \d+ bytes were taken"
FORK = multiprocessing.get_context("fork")
SUMMARY = Summary(
    window=Window(images=640, stretches=(Stretch(first_step=2, steps=20, begin_s=1.0, end_s=2.25),)),
    final_loss=None,
    accuracy=Missing(missing="not asked for"),
)


def make_step(rank, number):
    phases = {"input_s": 0.1, "compute_s": 0.2, "exchange_s": 0.0, "update_s": 0.1}
    return Step(rank=rank, step=number, warmup=False, images=8, begin_s=number, loss=0.5, **phases)


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
    """Leave no byte free; returns the file to remove."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 512):
                pass
        except OSError:
            pass
    return filler


# ---- Claims ----


def _try_to_claim(path, barrier, won):
    barrier.wait()
    try:
        claim(path)
    except Failure:
        won.put("late")
    else:
        won.put("first")


def test_one_of_many_processes_gets_the_folder(tmp_path):
    count = 32
    barrier, won = FORK.Barrier(count), FORK.SimpleQueue()
    path = tmp_path / "not" / "there" / "yet" / "run"
    processes = [FORK.Process(target=_try_to_claim, args=(path, barrier, won)) for _ in range(count)]
    for process in processes:
        process.start()
    outcomes = [won.get() for _ in processes]
    for process in processes:
        process.join()
    assert outcomes.count("first") == 1
    assert path.is_dir()


@pytest.mark.parametrize("below", [".", "deeper"])
def test_a_file_where_the_store_should_be_is_a_mistake_that_names_it(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match=r"store .*file.* cannot be written.*--store"):
        claim(tmp_path / "file" / below / "run")


def test_run_ids_sort_by_time():
    early = new_run_id(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert early.startswith("20260102-030405-")
    assert early < new_run_id(datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC))


def test_where_the_store_is(monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(store.ENVIRONMENT_VARIABLE, raising=False)
    assert default_root() == tmp_path / "data" / "hpcdl" / "runs"
    assert default_root("$SCRATCH/runs") == tmp_path / "runs"
    monkeypatch.setenv(store.ENVIRONMENT_VARIABLE, str(tmp_path / "mine"))
    assert default_root("$SCRATCH/runs") == tmp_path / "mine"


# ---- Publishing ----


def test_a_reader_sees_one_whole_text_or_the_other(tmp_path):
    path, texts = tmp_path / "record.json", ["a" * 300_000, "b" * 300_001]
    publish(path, texts[0])
    done = threading.Event()

    def write():
        for number in range(60):
            publish(path, texts[number % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_text())
    writer.join()
    assert seen <= set(texts)
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_is_for_whom_the_umask_admits(tmp_path):
    before = os.umask(0o027)
    try:
        publish(tmp_path / "record", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "record").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_keeps_the_old_content_and_no_temporary(small_disk):
    path = small_disk / "record.json"
    publish(path, "old")
    fill(small_disk)
    with pytest.raises(Failure, match=r"record\.json could not be written: No space left"):
        publish(path, "new" * 100_000)
    assert path.read_text() == "old"
    assert sorted(entry.name for entry in small_disk.iterdir()) == ["filler", "record.json"]


def test_what_no_text_file_can_hold_is_written_as_its_escape(tmp_path):
    publish(tmp_path / "record", "a lone surrogate: \udcff")
    assert (tmp_path / "record").read_text() == "a lone surrogate: \\udcff"


def test_a_folder_that_is_not_there_is_a_failure(tmp_path):
    with pytest.raises(Failure, match="No such file"):
        publish(tmp_path / "absent" / "record", "x")


# ---- Appending ----


def _append(path, rank):
    appender = Appender(path)
    for batch in range(20):
        for number in range(10):
            appender.add(make_step(rank, batch * 10 + number))
        appender.flush()


def test_lines_of_several_processes_do_not_mix(tmp_path):
    folder = LaunchFolder(tmp_path)
    processes = [FORK.Process(target=_append, args=(folder.steps_path("node1"), rank)) for rank in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    torn = []
    steps = folder.steps(torn)
    assert torn == []
    for rank in range(6):
        assert steps.of_rank(rank).step.tolist() == list(range(200))


def test_flushing_nothing_makes_no_file(tmp_path):
    Appender(tmp_path / "steps.jsonl").flush()
    assert list(tmp_path.iterdir()) == []


def test_after_a_full_disk_nothing_is_lost_and_nothing_is_twice(small_disk):
    folder = LaunchFolder(small_disk)
    appender = Appender(folder.steps_path("node1"))
    appender.add(make_step(0, 0))
    appender.flush()
    filler = fill(small_disk)
    for number in range(1, 400):
        appender.add(make_step(0, number))
    for _ in range(3):
        with pytest.raises(OSError, match=NO_SPACE):
            appender.flush()
    filler.unlink()
    appender.flush()
    torn = []
    assert folder.steps(torn).step.tolist() == list(range(400))
    assert len(torn) <= 1


def test_a_full_disk_that_frees_a_little_at_a_time(small_disk):
    """Writes that the disk takes only a part of."""
    folder = LaunchFolder(small_disk)
    appender = Appender(folder.steps_path("node1"))
    with (small_disk / "filler").open("wb") as file:
        file.write(b"\0" * 240 * 1024)
    for number in range(600):
        appender.add(make_step(0, number))
    with pytest.raises(OSError, match=NO_SPACE):
        appender.flush()
    (small_disk / "filler").unlink()
    appender.flush()
    torn = []
    assert folder.steps(torn).step.tolist() == list(range(600))
    assert len(torn) <= 1


# ---- Finding ----


@pytest.fixture
def runs(tmp_path):
    for number, (run_id, job_id) in enumerate(
        [("20261120-101010-abcd", 7), ("20261121-101010-efgh", 20), ("20261122-101010-jkmn", 48151)]
    ):
        run = write_run(tmp_path, run_id=run_id, nodes=[number + 1])
        publish_record(
            run.submission_path,
            Submission(slurm_job_id=job_id, host="login1", submitted_utc="2026-11-22T14:12:00Z"),
        )
    return Store(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20261121-101010-efgh", "efgh"),
        ("20261121", "efgh"),
        ("efgh", "efgh"),
        ("last", "jkmn"),
        ("48151", "jkmn"),
        ("7", "abcd"),
        ("20", "efgh"),  # a job id, though all run ids begin with it
    ],
)
def test_find(runs, text, found):
    assert runs.find(text).run_id.endswith(found)


def test_find_by_folder(runs, monkeypatch):
    path = runs.root / "20261120-101010-abcd"
    assert runs.find(str(path)).path == path
    assert Store(Path("/nonexistent")).find(str(path)).path == path
    monkeypatch.chdir(path)
    assert runs.find(".").run_id == path.name


def test_find_what_fits_several(runs):
    with pytest.raises(Mistake, match=r"'202611' fits 3 runs: .*efgh.*\. Write more of the id"):
        runs.find("202611")


@pytest.mark.parametrize("text", ["20270101", "999", "²", "xyz", "a/b", "[", ""])
def test_find_what_is_not_there(runs, text):
    with pytest.raises(Mistake):
        runs.find(text)


def test_find_in_an_empty_store(tmp_path):
    with pytest.raises(Mistake, match="there are no runs in"):
        Store(tmp_path / "absent").find("last")


def test_foreign_folders_are_passed_over(runs):
    (runs.root / "zzz-notes").mkdir()
    (runs.root / "zzz-file").write_text("x")
    (runs.root / ".hidden").mkdir()
    assert [run.run_id[-4:] for run in runs.runs()] == ["abcd", "efgh", "jkmn"]


def test_a_torn_job_id_does_not_hide_the_others(runs):
    (runs.root / "20261120-101010-abcd" / "submission.json").write_text('{"slurm_jo')
    assert runs.find("48151").run_id.endswith("jkmn")


# ---- Damage ----


def test_a_torn_job_record_is_a_mistake_that_names_the_file(runs):
    run = runs.runs()[0]
    run.job_path.write_bytes(run.job_path.read_bytes()[:100])
    with pytest.raises(Mistake, match=r"abcd/job\.json: this record cannot be read"):
        run.job()


def test_a_record_of_another_version_says_so(runs):
    run = runs.runs()[0]
    fields = json.loads(run.job_path.read_text())
    run.job_path.write_text(json.dumps(fields | {"schema_version": 2}))
    with pytest.raises(Mistake, match=r"schema_version.*another version of hpcdl"):
        run.job()


def test_a_summary_cut_at_any_byte_is_the_summary_or_torn(tmp_path):
    folder = LaunchFolder(tmp_path)
    publish_record(folder.summary_path, SUMMARY)
    whole = folder.summary_path.read_bytes()
    for length in range(len(whole) + 1):
        folder.summary_path.write_bytes(whole[:length])
        torn = []
        read = folder.summary(torn)
        assert (read, len(torn)) in [(SUMMARY, 0), (None, 1)]
        assert read is None or length >= len(whole.rstrip())


def test_a_stream_cut_at_any_byte_loses_its_last_line_at_most(tmp_path):
    folder = LaunchFolder(tmp_path)
    path = folder.steps_path("node1")
    appender = Appender(path)
    steps = [make_step(0, number) for number in range(3)]
    for step in steps:
        appender.add(step)
    appender.flush()
    whole = path.read_bytes()
    ends = [position for position, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        torn = []
        count = sum(end <= length for end in ends)
        assert folder.steps(torn).step.tolist() == [step.step for step in steps[:count]]
        assert len(torn) == (length not in {0, *ends, *(end + 1 for end in ends)})


def test_rubbish_in_a_stream_is_counted_with_its_line(tmp_path):
    run = write_run(tmp_path)
    folder = record(run, 1)
    path = next(folder.path.glob("exit-*.jsonl"))
    path.write_bytes(b"\x00\xff\n" + path.read_bytes() + b'{"rank": -0.5}\n[]\n')
    torn = []
    assert len(folder.exits(torn)) == 1
    assert [(bad.path.name, bad.line) for bad in torn] == [(path.name, 1), (path.name, 3), (path.name, 4)]


def test_an_absent_record_is_no_damage(tmp_path):
    torn = []
    folder = LaunchFolder(tmp_path)
    assert (folder.summary(torn), folder.environment(torn), len(folder.steps(torn))) == (None, None, 0)
    assert torn == []
    with pytest.raises(Mistake, match=r"plan\.json: cannot be read \(No such file"):
        folder.plan()


# ---- Laying out ----


def test_a_run_is_laid_out_once(tmp_path):
    run = write_run(tmp_path, nodes=[1, 2])
    assert [folder.name for folder in run.launches()] == ["001-alexnet-1n", "002-alexnet-2n"]
    assert [folder.plan() for folder in run.launches()] == list(run.job().launches)
    assert not any(folder.began() for folder in run.launches())
    with pytest.raises(Failure, match="exists already"):
        write_run(tmp_path, nodes=[1, 2])


def test_laying_out_on_a_full_disk_is_an_error_that_can_be_read(small_disk):
    fill(small_disk)
    with pytest.raises(HpcdlError):
        write_run(small_disk)
