"""`hpcdl data`: data sets made and looked through (hpcdl.cli.data_sets), and how fast images come from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli import data_sets

if TYPE_CHECKING:
    from hpcdl.records import Loading

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def data() -> None:
    """Make, verify and measure training data."""


app.command("make")(data_sets.make)
app.command("info")(data_sets.info)
app.command("verify")(data_sets.verify)
app.command("mean")(data_sets.mean)


@app.command()
def bench(
    folder: Annotated[str, typer.Argument(help="The root of an image tree.", metavar="DIR")],
    *,
    model: Annotated[str, typer.Option("--model", help="Its input size is what is made.")] = "alexnet",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="For each side; without it, all cores.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images of a batch.")] = 32,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Of each window.")] = 2.0,
    pairs: Annotated[int, typer.Option("--pairs", min=2, help="Windows of each side, by turns.")] = 6,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """DALI on the CPU against PIL and a torch DataLoader with as many threads, in images/s."""
    import os
    from pathlib import Path

    from hpcdl import networks
    from hpcdl.cli import screen
    from hpcdl.errors import Mistake
    from hpcdl.report.loading import describe_loading

    networks.find(model)
    if not Path(folder).is_dir():
        raise Mistake(f"there is no data folder {folder}.", do="Give the root of an image tree.")
    cores = threads or len(os.sched_getaffinity(0))
    options = {"model": model, "threads": cores, "batch": batch, "seconds": seconds, "pairs": pairs}
    argv = [str(Path(folder).absolute()), *(f"--{name}={value}" for name, value in options.items())]
    screen.show(describe_loading(_measure(argv), folder), as_json=as_json)


def _measure(argv: list[str]) -> Loading:
    """In a process of its own: DALI and torch are never imported on this side."""
    import json
    import subprocess
    import sys
    import tempfile

    from hpcdl.cli import screen
    from hpcdl.errors import Failure, Mistake
    from hpcdl.records import Loading

    last: dict[str, object] = {}
    command = [sys.executable, "-m", "hpcdl.worker.data.bench", *argv]
    with (
        screen.talk.status("reading every image once") as status,
        # A file, not a pipe: nobody reads it until the end, and a full pipe would hold the child up.
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as child,
    ):
        for line in child.stdout or ():
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a library's own chatter
            if not isinstance(said, dict):
                continue
            last = said
            if "pair" in last:
                status.update(f"window {last['pair']} of {last['of']} of each")
        child.wait()
        complaints.seek(0)
        words = complaints.read().strip().splitlines()
    if "problem" in last:
        error = Mistake if last["code"] == Mistake.exit_code else Failure
        raise error(str(last["problem"]), do=str(last["do"]))
    if child.returncode or "dali" not in last:
        raise Failure(
            f"the measurement ended with {child.returncode}: {words[-1] if words else 'without a word'}."
        )
    return Loading.model_validate(last)
