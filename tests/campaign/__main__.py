"""``python -m tests.campaign [--only NAME] [--trials N] [--fresh]``: repeat what needs counting.

Ctrl-C breaks it off; the same command goes on where it was. The dated result is left in reports/.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.campaign import machine, result
from tests.campaign.drill import Setting, Void
from tests.campaign.drills import DRILLS
from tests.campaign.notebook import Notebook, Trial
from tests.campaign.tree import ROOT, read_code

if TYPE_CHECKING:
    from tests.campaign.drill import Drill

# Below runs/, which `make clean` leaves alone.
STATE = ROOT / "runs" / "campaign"
INTERRUPTED = 130
# What a drill may raise where its claim does not hold; anything else is a defect of the drill.
FAILURES = (AssertionError, OSError, RuntimeError, ValueError, subprocess.SubprocessError)

talk = Console(stderr=True, highlight=False)


def main() -> int:
    # A shell starts what runs in its background deaf to Ctrl-C, and then so would be what is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = _parse()
    names = asked.only or list(DRILLS)
    notebook = Notebook(asked.state / "trials.jsonl")
    if asked.fresh:
        notebook.forget(set(names))
    try:
        _conduct(names, asked.trials, notebook, asked.state)
    except KeyboardInterrupt:
        talk.print("broken off; the same command goes on from here")
        return INTERRUPTED
    return _conclude(notebook, asked.trials, asked.reports)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--only", action="append", choices=DRILLS, help="this drill; may be given again")
    parser.add_argument("--trials", type=int, help="so many of each, instead of the drill's own number")
    parser.add_argument("--fresh", action="store_true", help="forget the trials done so far")
    parser.add_argument("--state", type=Path, default=STATE, help="where trials are noted")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports", help="where the result is left")
    return parser.parse_args()


def _conduct(names: list[str], trials: int | None, notebook: Notebook, state: Path) -> None:
    columns = ("[progress.description]{task.description}", "{task.fields[facts]}")
    with Progress(
        TextColumn(columns[0]),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn(columns[1]),
        TimeElapsedColumn(),
        console=talk,
    ) as progress:
        for name in names:
            drill, done = DRILLS[name], notebook.done(name)
            wanted = range(1, (trials or drill.trials) + 1)
            task = progress.add_task(name, total=len(wanted), completed=len(done & set(wanted)), facts="")
            if reason := drill.missing():
                progress.update(task, facts=f"left out: {reason}")
                continue
            for number in [number for number in wanted if number not in done]:
                trial = attempt(name, drill, number, state / "homes")
                notebook.add(trial)
                progress.update(task, advance=1, facts=_describe(trial))
                if not trial.held:
                    progress.console.print(
                        f"{name}, trial {number}: {trial.detail}", style="red", markup=False
                    )


def _describe(trial: Trial) -> str:
    if trial.elapsed_s is not None:
        return f"{trial.elapsed_s:.1f} s"
    return "void" if trial.held is None else "did not hold"


def attempt(name: str, drill: Drill, number: int, homes: Path) -> Trial:
    """One trial, in a folder of its own, which stays where the claim did not hold."""
    home = homes / f"{name}-{number}"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    began, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    try:
        seen = drill.attempt(Setting(name, number, home))
    except (*FAILURES, Void) as problem:
        held = None if isinstance(problem, Void) else False
        detail = f"{type(problem).__name__}: {problem}".replace(str(home), "HOME")
        return Trial(name, number, held, "", None, detail, read_code(), began, load)
    shutil.rmtree(home, ignore_errors=True)
    elapsed_s, held = round(seen.elapsed_s, 2), True
    return Trial(name, number, held, seen.variant, elapsed_s, seen.detail, read_code(), began, load)


def _conclude(notebook: Notebook, planned: int | None, reports: Path) -> int:
    """The result of all that is noted, of earlier calls too; 1 where a claim did not hold."""
    trials = [trial for trial in notebook.trials() if trial.drill in DRILLS]
    groups = {name: [trial for trial in trials if trial.drill == name] for name in DRILLS}
    counts = [
        result.count(name, DRILLS[name], group, planned=planned or DRILLS[name].trials)
        for name, group in groups.items()
        if any(trial.held is not None for trial in group)
    ]
    if not counts:
        talk.print("no trial was done")
        return 1
    date = datetime.now(UTC).date().isoformat()
    path = result.write(reports, date, machine.describe(), counts, trials)
    print(path.read_text(encoding="utf-8"))
    talk.print(f"kept in {path}", soft_wrap=True)
    return int(any(one.held < one.trials for one in counts))


if __name__ == "__main__":
    sys.exit(main())
