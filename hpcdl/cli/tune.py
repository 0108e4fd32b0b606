"""`hpcdl tune`: the settings of speed that suit this node, found by trying, and kept in the site file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import completing
from hpcdl.cli.flags import RANKS, Flag, Said, accept
from hpcdl.cli.start import JsonOption, SiteOption, StoreOption, default, resolve

if TYPE_CHECKING:
    from hpcdl.preparation import Asked
    from hpcdl.site import Site
    from hpcdl.tuning.search import Finding, Tuned

TUNED = (
    Flag("--model", "train.model", "Network; `hpcdl models` lists them.", propose=completing.networks),
    Flag("--batch", "train.batch", "Images per rank and step.", int),
    Flag("--data", "train.data", "synthetic, digits, or the folder of a data set.", metavar="NAME|DIR"),
    Flag("--engine", "train.engine", "auto, horovod, ddp, single."),
    Flag("--transport", "train.transport", "What carries them: auto, nccl, mpi, gloo."),
    Flag("--device", "train.device", "auto, cpu, gpu."),
)


@accept(RANKS, TUNED)
def tune(
    benchmark: Annotated[
        str | None,
        typer.Argument(
            help="One of the shipped benchmarks, or a TOML file.",
            metavar="[BENCHMARK]",
            autocompletion=completing.benchmarks,
        ),
    ] = None,
    *,
    budget: Annotated[
        str, typer.Option("--budget", help="Nothing is begun after so long.", metavar="TIME")
    ] = "10m",
    lower_precision: Annotated[
        bool, typer.Option("--allow-lower-precision", help="Try bf16, fp16, tf32 too: other arithmetic.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be tried; run nothing.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Write what was found to the site file.")
    ] = True,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
    said: Said,
) -> None:
    """Find the settings that are fastest on this node, and keep them in the site file for later runs."""
    import threading
    import time

    from hpcdl.cli import screen
    from hpcdl.cli.follow import end_as_interrupted
    from hpcdl.report.tuned import describe_candidates, describe_tuned
    from hpcdl.tuning.candidates import list_candidates
    from hpcdl.tuning.search import search
    from hpcdl.tuning.trials import Trials

    default(said, "launches.probe", "never")
    asked, place = resolve(benchmark, said, store, site, {}, tuned=False)
    seconds = _read_budget(budget)
    trials = Trials(asked, place, threading.Event())
    launch = trials.plan({}).launches[0]
    candidates = list_candidates(launch, lower_precision=lower_precision)
    model = launch.train.model
    if dry_run:
        screen.show(describe_candidates(model, candidates), as_json=as_json)
        return
    begin_s = time.monotonic()

    def left_s() -> float:
        return seconds - (time.monotonic() - begin_s)

    # Ctrl-C ends the ranks of the trial under way, and leaves the site file as it is.
    end_as_interrupted()
    with screen.talk.status(f"trying {len(candidates)} settings for at most {seconds:g} s") as status:

        def tell(finding: Finding) -> None:
            screen.talk.print(_say(finding), highlight=False)
            status.update(f"trying settings, {max(0.0, left_s()):.0f} s left")

        found = search(candidates, trials, left_s, tell)
    kept_in = _keep(asked, site, model, found, launch.train.device, wanted=keep)
    screen.show(describe_tuned(model, found, kept_in=kept_in), as_json=as_json)


def _read_budget(text: str) -> float:
    from hpcdl.errors import Mistake
    from hpcdl.spec import read_seconds

    seconds = read_seconds(text)
    if not isinstance(seconds, float) or seconds <= 0:
        raise Mistake(f"--budget {text}: a time above 0 is needed.", do="Write --budget 10m, or 600s.")
    return seconds


def _say(finding: Finding) -> str:
    worth = "" if finding.worth is None else f", {finding.worth.value:.3f} times as fast"
    why = f" ({finding.reason})" if finding.reason else ""
    return f"{finding.candidate.text}: {finding.outcome}{worth}{why}"


def _keep(asked: Asked, site: str | None, model: str, found: Tuned, device: str, *, wanted: bool) -> str:
    """Where it was written, in words."""
    import socket
    from datetime import UTC, datetime
    from pathlib import Path

    from hpcdl.site import default_path
    from hpcdl.tuning.keeping import keep

    if not wanted:
        return "nothing was written"
    path = Path(site) if site else default_path()
    if not found.settings and model not in asked.site.tuned:
        return "nowhere: hpcdl's own choice is the best that was found"
    kind = _name_device(asked.site, device)
    comment = f"By hpcdl tune on {socket.gethostname()}, {datetime.now(UTC):%Y-%m-%d}: {found.gain:.3f} times as fast."
    keep(path, model, {"device": kind, **found.settings}, comment)
    return f"{path}, [tuned.{model}]"


def _name_device(site: Site, device: str) -> str:
    return device if device != "auto" else site.kind
