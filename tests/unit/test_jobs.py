"""A job's life over stand-ins for Slurm's programs: submitted once, found again, refused, cancelled."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from hpcdl import jobs, local
from hpcdl.durable import publish_record
from hpcdl.errors import Failure, Mistake, RefusedJob
from hpcdl.jobs import LocalRun, read_start
from hpcdl.preparation import Asked, prepare_cluster_job, prepare_local_job
from hpcdl.records import Submission
from hpcdl.site import Site
from hpcdl.spec import Benchmark
from hpcdl.store import Store
from tests.unit.records_maker import Recording, record, write_run

QUIET = 'echo "sbatch: Job 1 to start at now" >&2'


class Slurm:
    """Programs on PATH that note how they were called, and answer as they are told."""

    def __init__(self, folder):
        self.folder = folder
        self.calls = folder / "calls"
        self.answer("sbatch", f'case "$*" in *--test-only*) {QUIET};; *) echo 4711;; esac')
        for program in ("squeue", "sacct", "scontrol", "sinfo", "scancel", "sacctmgr"):
            self.answer(program, "true")

    def answer(self, program, text):
        path = self.folder / program
        path.write_text(f'#!/bin/sh\necho "{program} $*" >>{self.calls}\n{text}\n')
        path.chmod(0o755)

    def called(self, program, *, without="--test-only"):
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.startswith(f"{program} ") and without not in line]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Slurm(folder)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def ask(**site):
    return Asked(Benchmark.model_validate({"train": {"model": "lenet"}}), Site.model_validate(site), {})


def prepare(store, **site):
    return prepare_cluster_job(ask(**{"node": {"cores": 4, "gpus": 0}} | site), store)


# ---- Submitting ----


def test_a_job_is_submitted_once_and_recorded(slurm, store):
    job = prepare(store)
    folder = jobs.submit(job)
    assert len(slurm.called("sbatch")) == 1
    assert folder.submission().slurm_job_id == 4711
    assert folder.job() == job
    assert store.find("4711").run_id == job.run_id
    assert folder.script_path.read_text().startswith("#!/bin/bash")


def test_a_refused_job_leaves_no_folder_and_shows_slurms_words(slurm, store):
    slurm.answer("sbatch", "echo 'sbatch: error: invalid partition specified: gpuu' >&2; exit 1")
    with pytest.raises(RefusedJob, match="invalid partition specified: gpuu"):
        jobs.submit(prepare(store))
    assert store.runs() == []


def test_a_job_refused_in_the_second_breath_leaves_no_folder(slurm, store):
    refusal = "echo 'sbatch: error: Batch job submission failed: Job violates accounting policy' >&2; exit 1"
    slurm.answer("sbatch", f'case "$*" in *--test-only*) {QUIET};; *) {refusal};; esac')
    with pytest.raises(RefusedJob, match="Job violates accounting policy"):
        jobs.submit(prepare(store))
    assert store.runs() == []


LOST = (
    "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"
)


def test_a_lost_answer_is_looked_up_and_never_sent_again(slurm, store):
    slurm.answer("sbatch", f'case "$*" in *--test-only*) {QUIET};; *) {LOST};; esac')
    slurm.answer("squeue", "echo 815")
    job = prepare(store)
    folder = jobs.submit(job)
    assert folder.submission().slurm_job_id == 815
    assert len(slurm.called("sbatch")) == 1
    assert f"--name=hpcdl-{job.run_id}" in slurm.called("squeue")[0]


@pytest.mark.parametrize("squeue", ["true", "echo 'squeue: error: something else' >&2; exit 1"])
def test_a_lost_answer_without_a_job_keeps_the_folder_and_names_it(slurm, store, squeue):
    slurm.answer("sbatch", f'case "$*" in *--test-only*) {QUIET};; *) {LOST};; esac')
    slurm.answer("squeue", squeue)
    with pytest.raises(Failure, match=r"Slurm shows no job .* yet.*kept in .*squeue --name"):
        jobs.submit(prepare(store))
    assert len(store.runs()) == 1
    assert len(slurm.called("sbatch")) == 1


def test_the_callers_own_sbatch_settings_do_not_count(slurm, store, monkeypatch):
    monkeypatch.setenv("SBATCH_PARTITION", "nonsense")
    slurm.answer("sbatch", f'[ -z "$SBATCH_PARTITION" ] || exit 1\n{QUIET}; echo 4711')
    assert jobs.submit(prepare(store)).submission().slurm_job_id == 4711


def test_a_template_that_cannot_be_filled_claims_nothing(slurm, store, tmp_path):
    (tmp_path / "mine.j2").write_text("{{ absent }}")
    with pytest.raises(Mistake, match="cannot be filled"):
        jobs.submit(prepare(store, slurm={"template": str(tmp_path / "mine.j2")}))
    assert store.runs() == []


def test_what_the_site_does_not_say_sinfo_does(slurm, store):
    slurm.answer("sinfo", "echo 'batch*|4|64|gpu:a100:4|infinite|2:16:2'")
    job = prepare_cluster_job(ask(), store)
    assert (job.site.node.gpus, job.launches[0].tasks_per_node) == (4, 4)
    assert (job.site.node.cores, job.launches[0].cpus_per_task, job.launches[0].train.threads) == (32, 16, 8)
    assert job.sources["node.gpus"] == "sinfo"
    said = prepare_cluster_job(ask(node={"cores": 8, "gpus": 0}), store)
    assert (said.site.node.cores, said.site.node.gpus) == (8, 0)


def test_here_the_kernel_says_what_shares_a_core(store, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("hpcdl.preparation.count_threads_per_core", lambda _: 2)
    job = prepare_local_job(ask(node={"threads_per_core": 4}), store)
    assert (job.launches[0].cpus_per_task, job.launches[0].train.threads) == (8, 4)
    assert job.sources["node.threads_per_core"] == "this machine"


# ---- Walltimes ----


def test_a_walltime_that_was_said_is_taken(store):
    assert prepare(store, slurm={"walltime": "1:30:00"}).walltime_s == 5400


def test_the_walltime_follows_what_was_seen_on_nodes_of_the_same_shape(tmp_path, store):
    run = write_run(tmp_path / "runs", nodes=[1])
    record(run, 1, Recording(images_per_s=1.0))
    cores = run.job().launches[0].cpus_per_task
    same, other = (
        prepare_cluster_job(
            Asked(run.job().benchmark, Site.model_validate({"node": {"cores": count, "gpus": 0}}), {}), store
        )
        for count in (cores, cores + 1)
    )
    # 20 steps and 2 of warm-up, each of 256 images at 1 image/s
    assert same.walltime_s > 1.5 * 22 * 256
    assert "last seen 256 s a step" in same.sources["slurm.walltime"]
    assert "assumed speed" in other.sources["slurm.walltime"]


# ---- Where a run stands ----


def test_all_runs_are_asked_about_at_once(slurm, tmp_path, store):
    for number in range(5):
        run = write_run(tmp_path / "runs", run_id=f"20261122-14120{number}-aaaa")
        publish_record(
            run.submission_path,
            Submission(slurm_job_id=number + 1, host="x", submitted_utc="2026-11-22T14:12:00Z"),
        )
    answers = jobs.look(store.runs())
    assert len(answers) == 5
    assert len(slurm.called("squeue")) == 1


def test_a_run_of_this_machine_stands_as_its_process_does(tmp_path):
    run = write_run(tmp_path, launcher="direct")
    here = socket.gethostname()
    publish_record(
        run.submission_path,
        Submission(
            pid=os.getpid(),
            process_start=read_start(os.getpid()),
            host=here,
            submitted_utc="2026-11-22T14:12:00Z",
        ),
    )
    assert not jobs.look([run])[run.run_id].over
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    publish_record(
        run.submission_path,
        Submission(pid=ended.pid, process_start="boot 1", host=here, submitted_utc="2026-11-22T14:12:00Z"),
    )
    assert jobs.look([run])[run.run_id].over


def test_a_process_id_that_somebody_else_has_now_is_left_alone(tmp_path):
    run = write_run(tmp_path, launcher="direct")
    stranger = subprocess.Popen(["sleep", "60"])
    submission = Submission(
        pid=stranger.pid,
        process_start="another boot 1",
        host=socket.gethostname(),
        submitted_utc="2026-11-22T14:12:00Z",
    )
    publish_record(run.submission_path, submission)
    with pytest.raises(Mistake, match="is over"):
        jobs.cancel(run)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


# ---- Cancelling ----


def test_a_job_is_cancelled_through_slurm_and_marked(slurm, store):
    folder = jobs.submit(prepare(store))
    assert "4711" in jobs.cancel(folder)
    assert slurm.called("scancel") == ["scancel 4711"]
    assert folder.cancellation() is not None


def test_a_cancellation_that_slurm_refuses_is_not_marked(slurm, store):
    folder = jobs.submit(prepare(store))
    slurm.answer("scancel", "echo 'scancel: error: Kill job error on job id 4711: Access denied' >&2; exit 1")
    with pytest.raises(Failure, match="Access denied"):
        jobs.cancel(folder)
    assert folder.cancellation() is None


def test_a_run_elsewhere_is_cancelled_there(tmp_path):
    run = write_run(tmp_path, launcher="direct")
    publish_record(
        run.submission_path, Submission(pid=1, host="elsewhere", submitted_utc="2026-11-22T14:12:00Z")
    )
    with pytest.raises(Mistake, match="runs on elsewhere"):
        jobs.cancel(run)


def test_a_run_that_was_never_submitted(tmp_path):
    run = write_run(tmp_path)
    run.submission_path.unlink()
    with pytest.raises(Mistake, match="never submitted"):
        jobs.cancel(run)


# ---- Here ----


def prepare_here(store, python):
    asked = Asked(
        Benchmark.model_validate({"train": {"model": "lenet"}, "launches": {"nodes": [2]}}),
        Site.model_validate({"setup": {"python": str(python)}}),
        {},
    )
    return prepare_local_job(asked, store)


def test_a_python_that_is_not_there_is_a_mistake(store):
    with pytest.raises(Mistake, match=r"no Python '/nonexistent/python' on this machine"):
        prepare_here(store, "/nonexistent/python")
    assert store.runs() == []


def test_a_launch_that_cannot_be_started_says_why_in_its_log(store, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/nonexistent/interpreter\n")
    program.chmod(0o755)
    running = LocalRun(prepare_here(store, program))
    local.run_job(running.folder.job(), running.folder.path, threading.Event())
    [launch] = running.folder.launches()
    assert "could not be started: [Errno 2]" in launch.output_path.read_text()


def test_stopping_ends_the_ranks_even_where_it_cannot_be_recorded(store, tmp_path):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho $$ >>{tmp_path}/pids\nexec sleep 3600\n")
    program.chmod(0o755)
    running = LocalRun(prepare_here(store, program))
    running.start()
    while not (tmp_path / "pids").exists() or len((tmp_path / "pids").read_text().split()) < 2:
        assert not running.is_over()
    running.folder.cancelled_path.mkdir()
    with pytest.raises(Failure, match=r"cancelled\.json could not be written"):
        running.stop()
    assert running.is_over()
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), signal.SIGCONT)


def test_mpirun_is_wanted_for_mpi_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert local.choose_launcher("auto") == "direct"
    assert local.choose_launcher("gloo") == "direct"
    with pytest.raises(Mistake, match="mpirun is not on PATH"):
        local.choose_launcher("mpi")


def test_where_slurm_cannot_be_asked_a_job_is_not_over(store, monkeypatch):
    run = write_run(store.root, nodes=[1], run_id="20261122-141200-k3f9")
    monkeypatch.setenv("PATH", "/nowhere")
    standing = jobs.look([run])[run.run_id]
    assert (standing.over, standing.word) == (False, "no Slurm here to ask")


def test_a_process_is_known_by_its_number_and_its_start():
    assert jobs.read_start(os.getpid()) == jobs.read_start(os.getpid())
    assert jobs.read_start(os.getpid()) != jobs.read_start(1)
    assert jobs.read_start(2**22 + 1) is None
