"""A trial: a short launch in fresh processes on this machine, like any other run of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl import local
from hpcdl.preparation import prepare_local_job
from hpcdl.spec import Launches, Metering
from hpcdl.store import lay_out
from hpcdl.tuning.search import Trial

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from hpcdl.plan import Job
    from hpcdl.preparation import Asked
    from hpcdl.store import LaunchFolder, Store
    from hpcdl.tuning.candidates import Value

TAG = "tune"
# A window of a few seconds: what a setting is worth shows in the ratio of two, not in one of them.
WINDOW_S = 3.0
STEPS = 10
WARMUP = 5


@dataclass(frozen=True)
class Trials:
    """Runs trials of one benchmark; `stop` ends the one that is under way."""

    asked: Asked
    store: Store
    stop: threading.Event

    def plan(self, settings: Mapping[str, Value]) -> Job:
        """The job of a trial.

        Raises:
            Mistake: These settings cannot be together, or do not fit this machine.
        """
        benchmark = self.asked.benchmark
        train = {
            **benchmark.train.model_dump(),
            "steps": STEPS,
            "epochs": None,
            "precision": None,
            "max_steps": None,
            "min_window_s": WINDOW_S,
            "warmup": max(WARMUP, benchmark.train.warmup),
            "validate_after": False,
            **settings,
        }
        short = benchmark.model_copy(
            update={
                "train": type(benchmark.train).model_validate(train),
                "launches": Launches(nodes=benchmark.launches.nodes[:1], probe="never"),
                "power": Metering(sample=False),
            }
        )
        return prepare_local_job(
            type(self.asked)(short, self.asked.site, self.asked.sources, (*self.asked.tags, TAG)), self.store
        )

    def __call__(self, settings: Mapping[str, Value]) -> Trial:
        """Run one; what keeps it from running is its result."""
        try:
            job = self.plan(settings)
        except ValueError as problem:
            return Trial(None, str(problem).splitlines()[-1])
        folder = lay_out(job, script=None)
        local.run_job(job, folder.path, self.stop)
        return read_trial(folder.launches()[0])


def read_trial(launch: LaunchFolder) -> Trial:
    """Images/s of the window; or how the launch ended."""
    summary = launch.summary()
    ends = [end for end in launch.exits() if end.outcome != "completed"]
    if summary is None or ends:
        return Trial(None, ends[0].reason if ends else "the launch left no summary")
    return Trial(summary.window.images / summary.window.elapsed_s)
