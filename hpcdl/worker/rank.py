"""One rank: `python -m hpcdl.worker.rank LAUNCH_DIR`, started by its supervisor and by nobody else."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from hpcdl.errors import HpcdlError, Refused
from hpcdl.store import LaunchFolder
from hpcdl.worker.beacon import Beacon
from hpcdl.worker.delivery import check_delivery, read_delivery
from hpcdl.worker.place import read_place
from hpcdl.worker.reporter import Ended, Reporter

PIPE, BEACON, STACKS = "HPCDL_PIPE", "HPCDL_BEACON", "HPCDL_STACKS"
EXIT_REFUSED = 3
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Train, and say how it ended. After a failure the process leaves at once, without a word to the others.

    A collective in the teardown of a failing rank waits for ranks that will never come; so only success
    closes the engine.
    """
    pipe = int(os.environ.pop(PIPE))
    _die_with_supervisor(pipe)
    faulthandler.enable(file=int(os.environ.pop(STACKS)), all_threads=True)
    reporter = Reporter(pipe)
    beacon = Beacon(int(os.environ.pop(BEACON)))
    ended, code = _train(Path(sys.argv[1]), reporter, beacon)
    reporter.say(ended)
    leave(code)


def leave(code: int) -> NoReturn:
    """End this process without taking Python apart.

    Threads of Gloo's may still hold tensors of Python's after the process group is gone; one that lets go of
    them while Python is taken apart aborts a rank that had done all its work (pytorch pull request 179291).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _train(path: Path, reporter: Reporter, beacon: Beacon) -> tuple[Ended, int]:
    try:
        folder = LaunchFolder(path)
        launch = folder.plan()
        place = read_place(launch)
        # Before anything is imported that another image, or none, might have too.
        check_delivery(launch, folder, read_delivery())
        if launch.kind == "probe":
            # torch comes in only now, so that the beacon is lit early.
            from hpcdl.worker.probe import probe

            probe(launch, place, folder, reporter, beacon)
        elif launch.kind == "check":
            from hpcdl.worker.check import look

            look(launch, place, folder, reporter, beacon)
        else:
            from hpcdl.worker.training import train

            train(launch, place, folder, reporter, beacon)
    except Refused as refusal:
        return Ended(outcome="refused", reason=str(refusal)), EXIT_REFUSED
    except HpcdlError as problem:
        # 2 for a mistake of the person's: it is handed on as the exit code of the whole run.
        return Ended(outcome="failed", reason=str(problem)), problem.exit_code
    except Exception as problem:  # noqa: BLE001 (whatever it is, it is recorded, and the process ends)
        traceback.print_exc()
        return Ended(outcome="failed", reason=f"{type(problem).__name__}: {problem}"), 1
    return Ended(outcome="completed"), 0


def _die_with_supervisor(pipe: int) -> None:
    """A rank whose supervisor was killed dies too. Polite signals are the supervisor's business.

    Slurm sends them to every process of a step: a rank that died of one by itself would look like the culprit.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    ask_for_signal_when_parent_dies(signal.SIGKILL)
    # It may have died before we could ask; then nobody reads the pipe.
    reader = select.poll()
    reader.register(pipe, 0)
    if reader.poll(0):
        os._exit(1)


def ask_for_signal_when_parent_dies(number: int) -> None:
    """Have the kernel send this process a signal as soon as the one that started it is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


if __name__ == "__main__":
    main()
