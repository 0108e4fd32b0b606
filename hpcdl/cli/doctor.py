"""`hpcdl doctor`: what works here, and what to do about the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcdl.records import Condition

PATIENCE_S = 180


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """What works here: torch, Horovod, MPI, DALI, power sensors, Slurm; and what to do about the rest."""
    import json

    from rich.table import Table
    from rich.text import Text

    from hpcdl.cli import screen

    with screen.talk.status("looking"):
        found = [*_inspect_worker(), *_inspect_slurm()]
    if as_json:
        print(json.dumps([condition.model_dump() for condition in found], indent=1))
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column()
    for condition in found:
        well = condition.ok and not condition.do
        verdict = Text("ok", style="green") if well else Text(condition.do)
        table.add_row(condition.name, condition.value, verdict)
    screen.results.print(table)


def _inspect_worker() -> list[Condition]:
    """In a process of its own: torch and its kin are never imported on this side, and may crash there."""
    import subprocess
    import sys

    from pydantic import ValidationError

    from hpcdl.records import Condition

    argv = [sys.executable, "-m", "hpcdl.worker.inspection"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        lines, code = done.stdout.splitlines(), done.returncode
    except subprocess.TimeoutExpired as late:
        lines, code = (late.stdout or b"").decode().splitlines(), 124
    found = []
    for line in lines:
        try:
            found.append(Condition.model_validate_json(line))
        except ValidationError:
            continue  # a library's own chatter
    if code:
        value = f"the inspection itself ended with {code} after {len(found)} looks"
        do = "run python -m hpcdl.worker.inspection to see why"
        found.append(Condition(name="could not look", value=value, ok=False, do=do))
    return found


def _inspect_slurm() -> Iterator[Condition]:
    from hpcdl import slurm
    from hpcdl.errors import HpcdlError
    from hpcdl.records import Condition

    if not slurm.is_here():
        yield Condition(
            name="Slurm", value="sbatch is not on PATH", ok=False, do="train here without it: hpcdl run smoke"
        )
        return
    try:
        types = slurm.pmi_types()
        pmix = any(kind.startswith("pmix") for kind in types)
        yield Condition(name="Slurm", value=slurm.version(), ok=True)
        yield Condition(
            name="PMI",
            value=", ".join(types) or "none",
            ok=pmix,
            do="" if pmix else "without PMIx: set [slurm] pmi in the site file, or use --engine ddp",
        )
        books = slurm.accounting_is_on()
        yield Condition(
            name="accounting",
            value="on" if books else "off",
            ok=True,
            do="" if books else "not needed: the run's own records are the truth",
        )
    except HpcdlError as problem:
        yield Condition(name="Slurm", value=problem.what, ok=False, do=problem.do)
