"""What a rank says to its supervisor, and the first act of a batch script."""

from __future__ import annotations

import io
import os
import sys

import pytest
from pydantic import ValidationError

from hpcdl.errors import Failure, Mistake
from hpcdl.records import Step
from hpcdl.store import RunFolder, Store
from hpcdl.worker import opening
from hpcdl.worker.reporter import Ended, Reporter, Stepped, Verified, parse_message
from tests.unit.records_maker import record, write_run

STEP = Step(
    rank=1,
    step=7,
    warmup=False,
    images=8,
    begin_s=1.5,
    input_s=0.1,
    compute_s=0.2,
    exchange_s=0,
    update_s=0.1,
    loss=None,
)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(
    "message", [Stepped(step=STEP), Verified(digest="abc"), Ended(outcome="failed", reason="naïve\n数")]
)
def test_what_is_said_is_heard_on_one_line(pipe, message):
    reader, writer = pipe
    Reporter(writer).say(message)
    data = os.read(reader, 1 << 16)
    assert data.count(b"\n") == 1
    assert parse_message(data) == message


def test_a_reason_that_is_no_text_is_said_all_the_same(pipe):
    """The name of a file that is no UTF-8, as the operating system's errors give it."""
    reader, writer = pipe
    Reporter(writer).say(Ended(outcome="failed", reason=os.fsdecode(b"no image: \xff.jpg")))
    assert parse_message(os.read(reader, 1 << 16)).reason.startswith("no image: ")


@pytest.mark.parametrize(
    "line", [b"", b"{", b'{"kind": "other"}', b"[]", b'{"kind": "step", "step": {}}', b"\xff"]
)
def test_a_torn_line_is_a_validation_error(line):
    with pytest.raises(ValidationError):
        parse_message(line)


def test_a_script_from_a_dry_run_lays_out_its_folder(tmp_path):
    job = write_run(tmp_path / "one", nodes=[1, 2]).job()
    job = job.model_copy(update={"run_dir": str(tmp_path / "two" / job.run_id)})
    opened = opening.open_run(opening.parse_job(job.model_dump_json()))
    assert [run.run_id for run in Store(tmp_path / "two").runs()] == [job.run_id]
    assert opened.job() == job
    assert len(opened.launches()) == 2


def test_after_submit_the_folder_is_found_as_it_was_left(tmp_path):
    run = write_run(tmp_path)
    assert opening.open_run(run.job()).path == run.path


def test_a_script_that_ran_before_is_refused(tmp_path):
    run = write_run(tmp_path)
    record(run, 1)
    with pytest.raises(Failure, match="already holds the records"):
        opening.open_run(run.job())


REQUEUED = {"SLURM_JOB_ID": "48151", "SLURM_RESTART_COUNT": "1"}


def open_again(tmp_path, monkeypatch, *, requeue=True, **environ):
    run = write_run(tmp_path, site={"slurm": {"requeue": requeue}})
    record(run, 1)
    for name, value in (REQUEUED | environ).items():
        monkeypatch.setenv(name, value)
    return run, opening.open_run(run.job())


def test_a_job_that_slurm_requeued_and_may_goes_on_in_its_folder(tmp_path, monkeypatch):
    run, opened = open_again(tmp_path, monkeypatch)
    assert opened.path == run.path


@pytest.mark.parametrize(
    "otherwise",
    [
        {"requeue": False},
        {"SLURM_JOB_ID": "48152"},
        {"SLURM_RESTART_COUNT": "0"},
        {"SLURM_RESTART_COUNT": ""},
    ],
)
def test_any_other_second_start_is_refused(tmp_path, monkeypatch, otherwise):
    with pytest.raises(Failure, match="already holds the records"):
        open_again(tmp_path, monkeypatch, **otherwise)


def test_another_jobs_folder_is_refused(tmp_path):
    run = write_run(tmp_path)
    with pytest.raises(Failure, match="holds another job"):
        opening.open_run(run.job().model_copy(update={"plan_hash": "0"}))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run_id": "x"}', "null"])
def test_what_is_no_job_ends_in_one_message(monkeypatch, capsys, text):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    with pytest.raises(SystemExit) as left:
        opening.main()
    assert left.value.code == Mistake.exit_code
    assert capsys.readouterr().err.startswith("hpcdl: the job in the batch script")


def test_a_store_that_cannot_be_written_ends_in_one_message(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    job = write_run(tmp_path / "one").job().model_copy(update={"run_dir": str(tmp_path / "file" / "run")})
    monkeypatch.setattr(sys, "stdin", io.StringIO(job.model_dump_json()))
    with pytest.raises(SystemExit) as left:
        opening.main()
    assert left.value.code == Mistake.exit_code
    assert "cannot be written" in capsys.readouterr().err
    assert not RunFolder(tmp_path / "file" / "run").job_path.exists()


def test_a_script_given_to_sbatch_by_hand_records_its_own_job(tmp_path, monkeypatch):
    job = write_run(tmp_path / "elsewhere", nodes=[1], run_id="20261122-141200-k3f9").job()
    job = job.model_copy(update={"run_dir": str(tmp_path / "runs" / job.run_id)})
    monkeypatch.setenv("SLURM_JOB_ID", "48152")
    assert opening.open_run(job).submission().slurm_job_id == 48152
