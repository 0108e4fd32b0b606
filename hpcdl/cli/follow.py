"""Following a run with one's eyes: progress on stderr while it goes, the report when it has ended."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, NoReturn, Self

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hpcdl import jobs, report, slurm
from hpcdl.analysis.job import analyse_run
from hpcdl.cli import screen
from hpcdl.errors import Failure, Mistake
from hpcdl.records import Missing
from hpcdl.report.wording import count

if TYPE_CHECKING:
    from types import FrameType

    from rich.progress import TaskID

    from hpcdl.analysis.job import RunResult
    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.jobs import LocalRun, Standing
    from hpcdl.store import RunFolder

TICK_S = 0.5
# Once all launches have ended, so will the job: how often Slurm is asked then.
SOON_S = 2.0


def follow_local(running: LocalRun, *, as_json: bool) -> NoReturn:
    """Show the run until it ends. Ctrl-C, SIGTERM or a closed terminal ends its ranks, and marks the run."""
    end_as_interrupted()
    interrupted = False
    try:
        with Board() as board:
            running.start()
            while not running.is_over():
                board.show(analyse_run(running.folder, jobs.UNDER_WAY))
                board.rest()
    except KeyboardInterrupt:
        interrupted = True
    # Whatever happens from here on, no rank is left behind.
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if not running.is_over():
            screen.talk.print("ending the ranks; what was measured is kept")
            running.stop()
    _finish(running.folder, as_json=as_json, interrupted=interrupted)


def end_as_interrupted() -> None:
    """SIGTERM or a closed terminal does what Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup, SIGHUP is ignored on purpose.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise KeyboardInterrupt


def follow_slurm(folder: RunFolder, *, as_json: bool) -> NoReturn:
    """Show the job until it ends, then its report."""
    _finish(folder, as_json=as_json, standing=watch_slurm(folder))


def watch_slurm(folder: RunFolder) -> Standing:
    """Show the job until it ends. Ctrl-C stops the watching and leaves the job alone."""
    try:
        with Board() as board:
            return watch(folder, board)
    except KeyboardInterrupt:
        screen.talk.print(
            f"no longer watching; the job goes on. Stop it: hpcdl cancel {folder.run_id}", soft_wrap=True
        )
        raise


def watch(folder: RunFolder, board: Board) -> Standing:
    """Slurm is asked with growing pauses; the records, which are ours, at every tick."""
    pauses = slurm.waits_s()
    asked_s, pause_s, standing = -1e9, 0.0, jobs.Standing(over=False, word="submitted")
    while not standing.over:
        if time.monotonic() - asked_s >= pause_s:
            standing = jobs.look_patiently(folder, standing)
            asked_s, pause_s = time.monotonic(), next(pauses)
        result = analyse_run(folder, standing.job_state)
        board.show(result, standing)
        board.rest()
        if result.state not in {"planned", "running"}:
            pause_s = min(pause_s, SOON_S)
    jobs.settle(folder, standing)
    return standing


def _finish(
    folder: RunFolder, *, as_json: bool, standing: Standing | None = None, interrupted: bool = False
) -> NoReturn:
    if standing:
        jobs.keep_energy(folder, standing)
    result = analyse_run(folder, standing.job_state if standing else jobs.OVER)
    screen.show(report.build([result]), as_json=as_json)
    if interrupted:
        raise typer.Exit(130)
    if not result.completed:
        _blame_input(result)
        raise Failure(
            f"run {folder.run_id} was not completed ({result.state}).", do=f"See hpcdl logs {folder.run_id}."
        )
    raise typer.Exit(0)


def _blame_input(result: RunResult) -> None:
    """Raise Mistake where a rank found that the input cannot be used: a damaged image, a folder that is none."""
    for launch in result.launches:
        culprit = launch.ending.culprit
        if culprit is not None and culprit.outcome == "failed" and culprit.exit_code == Mistake.exit_code:
            raise Mistake(culprit.reason)


class Board:
    """One line for each launch of a job."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            console=screen.talk,
        )
        self._tasks: dict[int, TaskID] = {}
        self._said = ""
        self._rested_s = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, result: RunResult, standing: Standing | None = None) -> None:
        """Bring the lines up to date; waiting in the queue is said in words."""
        self._say_standing(standing)
        for launch in result.launches:
            if launch.state != "planned":
                self._show_launch(launch, len(result.launches))

    def rest(self) -> None:
        """Until the next look: the longer a look takes, the fewer of them, so that watching stays light."""
        spent_s = time.monotonic() - self._rested_s
        time.sleep(max(TICK_S, 4 * spent_s))
        self._rested_s = time.monotonic()

    def _say_standing(self, standing: Standing | None) -> None:
        if standing is None:
            return
        words = f"{standing.word} ({standing.reason})" if standing.reason else standing.word
        if words != self._said:
            self._progress.console.print(f"job {standing.slurm_job_id or ''}: {words}", style="dim")
            self._said = words

    def _show_launch(self, launch: LaunchResult, launches: int) -> None:
        index, plan = launch.plan.index, launch.plan
        if index not in self._tasks:
            size = count(plan.nodes, "node") if plan.launcher == "srun" else count(plan.world_size, "rank")
            what = plan.train.model if plan.kind == "train" else plan.kind
            label = f"{index} of {launches}  {what}  {size}"
            self._tasks[index] = self._progress.add_task(label, facts="", total=None)
        done, planned = _count(launch)
        self._progress.update(self._tasks[index], total=planned, completed=done, facts=_describe(launch))
        if launch.state not in {"planned", "running"}:
            self._progress.stop_task(self._tasks[index])


def _count(launch: LaunchResult) -> tuple[int, int | None]:
    """Steps done and planned; a probe or a check is one thing that is done or not."""
    if launch.plan.kind != "train":
        return int(launch.state == "completed"), 1
    return launch.progress.steps_done, launch.progress.steps_planned


def _describe(launch: LaunchResult) -> str:
    progress = launch.progress
    if launch.state not in {"running", "completed"}:
        return str(launch.state)
    if launch.plan.kind != "train":
        return "done" if launch.state == "completed" else "measuring"
    if launch.state == "completed" and isinstance(launch.images_per_s, Missing):
        return "done, not published"
    if isinstance(progress.images_per_s, Missing):
        return f"warm-up {progress.warmup_done}" if progress.warmup_done else "starting"
    rate = launch.images_per_s if not isinstance(launch.images_per_s, Missing) else progress.images_per_s
    loss = "" if isinstance(progress.loss, Missing) else f"loss {progress.loss:.3f}"
    return f"{rate:,.0f} img/s  {loss}"
