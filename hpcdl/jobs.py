"""A job's life, over either executor: prepare, claim, submit once, look, cancel."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import sys
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hpcdl import local, script, slurm
from hpcdl.analysis.ending import JobState
from hpcdl.errors import Failure, HpcdlError, Mistake
from hpcdl.plan import (
    DIGITS_TRAINING_IMAGES,
    Job,
    cluster_sizes,
    estimate_walltime_s,
    hash_plan,
    local_sizes,
    make_launches,
    parse_walltime_s,
)
from hpcdl.records import Cancellation, Submission
from hpcdl.store import RunFolder, Store, lay_out, new_run_id, publish_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcdl.plan import Launch, Launcher, Size
    from hpcdl.site import Site
    from hpcdl.spec import Benchmark

Sources = dict[str, str]
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True)
class Asked:
    """Benchmark and site as resolved, and who said what."""

    benchmark: Benchmark
    site: Site
    sources: Sources


def prepare_cluster_job(asked: Asked, store: Store, *, attempt: int = 1) -> Job:
    """The job as Slurm will get it. Looks at sinfo where the site file is silent; changes nothing.

    Raises:
        Mistake: What was asked does not fit the nodes, or its walltime is none.
    """
    site, sources = asked.site, dict(asked.sources)
    facts = slurm.node_facts(site.slurm.partition) if slurm.is_here() else None
    if facts is not None:
        site = _fill_in(site, sources, {"cores": facts.cores, "gpus": facts.gpus}, "sinfo")
    here = {"cores": os.cpu_count() or 1}
    site = _fill_in(site, sources, here, "this machine (no site file, no sinfo)")
    sizes = cluster_sizes(asked.benchmark, site, cores=site.node.cores or 1)
    limit_s = facts.max_walltime_s if facts else None
    filled = Asked(asked.benchmark, site, sources)
    return _make_job(filled, store, sizes, "srun", attempt=attempt, limit_s=limit_s)


def prepare_local_job(asked: Asked, store: Store) -> Job:
    """The same job for this machine.

    Raises:
        Mistake: More ranks than GPUs, where GPUs are to be used; MPI is asked for and is not here; or the site's
            Python is not.
    """
    sources = dict(asked.sources)
    site = _fill_in(asked.site, sources, {"gpus": local.count_gpus()}, "this machine")
    sizes = local_sizes(asked.benchmark, site, cores=len(os.sched_getaffinity(0)))
    launcher = local.choose_launcher(asked.benchmark.train.transport)
    job = _make_job(Asked(asked.benchmark, site, sources), store, sizes, launcher, attempt=1)
    if shutil.which(job.python) is None:
        raise Mistake(
            f"there is no Python {job.python!r} on this machine.",
            do="Correct [setup] python or venv in the site file.",
        )
    return job


def _fill_in(site: Site, sources: Sources, found: Mapping[str, int], source: str) -> Site:
    """The site with its nodes' facts where nobody named them; `sources` learns where they came from."""
    missing = {name: value for name, value in found.items() if getattr(site.node, name) is None}
    sources |= {f"node.{name}": source for name in missing}
    return site.model_copy(update={"node": site.node.model_copy(update=missing)})


def _make_job(
    asked: Asked,
    store: Store,
    sizes: tuple[Size, ...],
    launcher: Launcher,
    *,
    attempt: int,
    limit_s: int | None = None,
) -> Job:
    benchmark, site, sources = asked.benchmark, asked.site, dict(asked.sources)
    launches = make_launches(benchmark, site, sizes, launcher=launcher)
    run_id = new_run_id()
    return Job(
        run_id=run_id,
        benchmark_id=benchmark.benchmark_id,
        plan_hash=hash_plan(benchmark, site, launches),
        created_utc=datetime.now(UTC),
        attempt=attempt,
        name=benchmark.name,
        executor="slurm" if launcher == "srun" else "local",
        nodes=max(launch.nodes for launch in launches),
        walltime_s=_choose_walltime(asked, launches, store, sources, limit_s),
        run_dir=str(store.root / run_id),
        python=_choose_python(site),
        benchmark=benchmark,
        site=site,
        sources=sources,
        launches=launches,
    )


def _choose_python(site: Site) -> str:
    if site.setup.python:
        return os.path.expandvars(site.setup.python)
    if site.setup.venv:
        return f"{os.path.expandvars(site.setup.venv)}/bin/python"
    return sys.executable


def _choose_walltime(
    asked: Asked, launches: tuple[Launch, ...], store: Store, sources: Sources, limit_s: int | None
) -> int:
    if asked.site.slurm.walltime is not None:
        return parse_walltime_s(asked.site.slurm.walltime)
    seen_s = last_seen_step_s(store, asked.benchmark.benchmark_id)
    estimate_s = estimate_walltime_s(launches, seen_step_s=seen_s)
    basis = f"last seen {seen_s:.3g} s a step" if seen_s else "assumed speed"
    sources["slurm.walltime"] = f"estimated: {len(launches)} launches, {basis}, x1.5"
    if limit_s is not None and estimate_s > limit_s:
        sources["slurm.walltime"] = f"the partition's limit; {sources['slurm.walltime']} would be longer"
        return limit_s
    return estimate_s


def last_seen_step_s(store: Store, benchmark_id: str) -> float | None:
    """Seconds a step of this very benchmark took in its newest completed launch; None: it has not run yet."""
    for run in reversed(store.runs()[-50:]):
        try:
            if run.job().benchmark_id != benchmark_id:
                continue
        except Mistake:
            continue
        windows = [summary.window for launch in run.launches() if (summary := launch.summary())]
        if windows:
            return max(window.elapsed_s / window.steps for window in windows)
    return None


def check_data(job: Job) -> None:
    """A first look at the data, light enough for a login node; the nodes verify every file.

    Raises:
        Mistake: The folder is missing or holds no images one or two levels down; or there are fewer images
            than one step takes.
    """
    train = job.launches[0].train
    wanted = max(launch.train.global_batch for launch in job.launches)
    if train.data == "digits":
        _require_images(DIGITS_TRAINING_IMAGES, wanted, "digits")
    if train.data_dir is None:
        return
    root = Path(train.data_dir)
    if not root.is_dir():
        raise Mistake(f"there is no data folder {root}.", do="Give the root of an image tree with --data.")
    # Counting ends where it is enough: a large data set is not listed for this.
    found = sum(1 for _ in itertools.islice(_images(root), wanted))
    if not found:
        raise Mistake(
            f"{root} holds no images in the ImageNet layout.",
            do="Expected are FOLDER/<class>/*.jpg, or FOLDER/train/<class>/*.jpg and FOLDER/val/<class>/*.jpg.",
        )
    _require_images(found, wanted, str(root))


def _images(root: Path) -> Iterator[Path]:
    return (path for path in root.glob("*/**/*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _require_images(found: int, wanted: int, where: str) -> None:
    if found < wanted:
        raise Mistake(
            f"{where} has {found} images to train on, and one step over all ranks takes {wanted}.",
            do="Use fewer ranks, a smaller --batch or --global-batch, or more images.",
        )


def submit(job: Job) -> RunFolder:
    """Hand the job to Slurm, once. The folder is claimed first, so that nothing that ran can be unrecorded.

    Raises:
        RefusedJob: Slurm's own words; the folder is taken back, as there is no job.
        Failure: Slurm did not answer; where a job may exist all the same, the folder is kept and named.
        Mistake: The output cannot be where it should.
    """
    text = script.render(job)
    slurm.test(text)
    folder = lay_out(job, text)
    try:
        job_id = slurm.submit(folder.script_path)
    except (slurm.Ambiguous, KeyboardInterrupt) as silence:
        job_id = _find_submitted(job, folder, silence)
    except HpcdlError:
        shutil.rmtree(folder.path)
        raise
    _record_submission(folder, slurm_job_id=job_id)
    return folder


def _find_submitted(job: Job, folder: RunFolder, silence: BaseException) -> int:
    """The job whose submission was not answered, or was interrupted: looked for by its name, never sent again."""
    name = script.job_name(job)
    try:
        found = slurm.find_by_name(name)
    except Failure:
        found = None
    if found is None:
        raise Failure(
            f"the submission was not answered ({silence or 'interrupted'}), and Slurm shows no job {name!r} yet.",
            do=f"The run is kept in {folder.path}. Look with `squeue --name {name}` before you submit again.",
        ) from None
    if isinstance(silence, KeyboardInterrupt):
        _record_submission(folder, slurm_job_id=found)
        raise silence
    return found


def _record_submission(folder: RunFolder, *, slurm_job_id: int | None = None, pid: int | None = None) -> None:
    record = Submission(
        slurm_job_id=slurm_job_id, pid=pid, host=socket.gethostname(), submitted_utc=_now_utc()
    )
    publish_record(folder.submission_path, record)


def _now_utc() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class LocalRun:
    """A job running on this machine, in the background of this process."""

    def __init__(self, job: Job) -> None:
        self.folder = lay_out(job, script=None)
        _record_submission(self.folder, pid=os.getpid())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=local.run_job, args=(job, self.folder.path, self._stop))

    def start(self) -> None:
        self._thread.start()

    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End the ranks, close their records, mark the run as cancelled; returns when that is done."""
        self._stop.set()
        try:
            publish_record(self.folder.cancelled_path, Cancellation(requested_utc=_now_utc()))
        finally:
            self._thread.join()


# A run of this machine whose process has left.
OVER = JobState(over=True)


@dataclass(frozen=True)
class Standing:
    """What the executor says of a job: `word` is its own; `reason` is why it waits, or why it ended.

    `well` is Slurm's opinion that all went well. It is never the reason to believe so; it only tells how
    long to wait for records.
    """

    over: bool
    word: str
    reason: str = ""
    slurm_job_id: int | None = None
    well: bool = False

    @property
    def job_state(self) -> JobState:
        return JobState(over=self.over, words=self.word)


def look(folders: list[RunFolder]) -> Mapping[str, Standing]:
    """Where each run stands, by run id: one question to Slurm for all of them."""
    submissions = {folder.run_id: folder.submission() for folder in folders}
    wanted = [s.slurm_job_id for s in submissions.values() if s and s.slurm_job_id is not None]
    states = slurm.states(wanted) if wanted and slurm.is_here() else {}
    return {run_id: _stand(submission, states) for run_id, submission in submissions.items()}


def _stand(submission: Submission | None, states: Mapping[int, slurm.JobState]) -> Standing:
    if submission is None:
        return Standing(over=False, word="not submitted")
    if submission.slurm_job_id is None:
        return _stand_local(submission)
    state = states.get(submission.slurm_job_id)
    if state is None:
        return Standing(over=False, word="unknown to Slurm", slurm_job_id=submission.slurm_job_id)
    return Standing(
        over=state.is_over,
        word=state.word,
        reason=state.reason,
        slurm_job_id=submission.slurm_job_id,
        well=state.state is slurm.State.COMPLETED,
    )


def _stand_local(submission: Submission) -> Standing:
    if submission.host != socket.gethostname():
        return Standing(over=False, word=f"on {submission.host}")
    alive = submission.pid is not None and _is_hpcdl(submission.pid)
    return Standing(over=not alive, word="running here" if alive else "its process is gone")


def _is_hpcdl(pid: int) -> bool:
    """Whether that process is one of ours: a number alone may have been given to somebody else since."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(b"hpcdl" in word or b"pytest" in word for word in words)


def look_patiently(folder: RunFolder, before: Standing) -> Standing:
    """Where a run stands; while Slurm does not answer, where it stood, with that said."""
    try:
        return look([folder])[folder.run_id]
    except Failure:
        return replace(before, reason="Slurm does not answer; the job goes on")


def cancel(folder: RunFolder) -> str:
    """Ask for the end of a run; returns what was asked of whom.

    Raises:
        Mistake: There is nothing to cancel: the run is over, was never submitted, or runs elsewhere.
    """
    standing = look([folder])[folder.run_id]
    submission = folder.submission()
    if submission is None:
        raise Mistake(f"run {folder.run_id} was never submitted.")
    if standing.over:
        raise Mistake(f"run {folder.run_id} is over ({standing.word}).")
    if submission.slurm_job_id is not None:
        slurm.cancel(submission.slurm_job_id)
        asked = f"Slurm to end job {submission.slurm_job_id}"
    elif submission.host == socket.gethostname() and submission.pid is not None:
        os.kill(submission.pid, signal.SIGTERM)
        asked = f"process {submission.pid} to end"
    else:
        raise Mistake(f"run {folder.run_id} runs on {submission.host}.", do="Cancel it there.")
    publish_record(folder.cancelled_path, Cancellation(requested_utc=_now_utc()))
    return asked
