"""`hpcdl report`: of runs, in kinds and formats, onto the screen or into files; bundles of them, and their proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from hpcdl.cli import bundle
from hpcdl.cli.forms import STDOUT, choose_forms, note_asking
from hpcdl.cli.look import JsonOption, SiteOption, StoresOption  # noqa: TC001 (Typer reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Report
    from hpcdl.report.formats import Content

SHOW = "show"


class Verbs(TyperGroup):
    """`hpcdl report` with runs, or with nothing, shows; what is a verb of its own is one."""

    # Any: newer versions of Typer carry a Click of their own, so that its Context has two homes.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the verb that nobody types."""
        said = args if args and args[0] in self.commands else [SHOW, *args]
        parsed: list[str] = super().parse_args(ctx, said)
        return parsed


class Unnamed(TyperCommand):
    """The verb that nobody types, and nobody need read."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """As if it were the group itself."""
        if parent is None:
            return super().make_context(info_name, args, parent=parent, **extra)
        return super().make_context(parent.info_name, args, parent=parent.parent, **extra)


app = typer.Typer(
    cls=Verbs,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def report() -> None:
    """The report of one run, or of several together."""


app.command("bundle")(bundle.bundle)
app.command("verify")(bundle.verify)


@app.command(SHOW, cls=Unnamed, epilog="Also: hpcdl report bundle RUNS, and hpcdl report verify BUNDLE.")
def show(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs by id, Slurm job id, tag, benchmark or folder; without any, the last one.",
            metavar="RUNS",
        ),
    ] = None,
    *,
    kind: Annotated[
        str,
        typer.Option("--kind", help="run, scaling, power, cost, cpu-gpu, comm or all; several with commas."),
    ] = "all",
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="terminal, md, html, pdf, csv, json, png, svg; several with commas. Without it, as the file is named.",
        ),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="Into files of a folder.", metavar="DIR")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Into a file; - is stdout.", metavar="FILE")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="With csv: which table, by its key.", metavar="KEY")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", help="Runs by a query: \"model='alexnet' and nodes>1\".")
    ] = None,
    site: SiteOption = None,
    boundary: Annotated[
        str | None, typer.Option("--boundary", help="With costs: device, node or facility.")
    ] = None,
    accuracy: Annotated[
        str | None, typer.Option("--accuracy", help="CPU against GPU: to this accuracy, such as 98%.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Show what is withheld, marked as such.")] = False,
    store: StoresOption = None,
    as_json: JsonOption = False,
) -> None:
    """The report of one run, or of several together: throughput, scaling, power, cost, and what is withheld and why."""
    from hpcdl import report as reports
    from hpcdl.cli.look import Executors, choose_runs, open_stores
    from hpcdl.cli.pricing import read_accuracy, read_pricing
    from hpcdl.report import kinds
    from hpcdl.report.formats import FORMATS

    forms = choose_forms(form, output=output, as_json=as_json)
    wanted = kinds.read_kinds(kind)
    _refuse_two_choices(runs, where)
    _refuse_contradictions(forms, out, output, table)
    executors = Executors()
    pricing, reached = read_pricing(site), read_accuracy(accuracy)
    content = reports.build(
        choose_runs(open_stores(store), runs, where, ask=executors),
        force=force,
        pictured=any(FORMATS[name].pictured for name in forms),
        costs="cost" in wanted,
        pricing=pricing,
        boundary=boundary,
        accuracy=reached,
        asking=note_asking(
            runs,
            where,
            {
                "--kind": kind if wanted else None,
                "--site": site,
                "--boundary": boundary,
                "--accuracy": accuracy,
            },
            [*(word for name in store or () for word in ("--store", name)), *(["--force"] if force else [])],
        ),
    )
    content = kinds.select(content, wanted)
    if out is not None:
        _fill(Path(out), content, forms)
    elif output is not None and output != STDOUT:
        _write(Path(output), _render(content, forms[0], table))
    else:
        _print(content, forms[0], table, wanted=output == STDOUT)
    executors.tell()


def _refuse_two_choices(runs: list[str] | None, where: str | None) -> None:
    from hpcdl.errors import Mistake

    if runs and where is not None:
        raise Mistake("runs are chosen by name or by --where, not by both.", do="Leave one of them out.")


def _refuse_contradictions(
    forms: Sequence[str], out: str | None, output: str | None, table: str | None
) -> None:
    from hpcdl.errors import Mistake

    if out is not None and output is not None:
        raise Mistake("--out names a folder and --output a file: only one of them.", do="Leave one out.")
    if len(forms) > 1 and out is None:
        raise Mistake("several formats are several files.", do="Name a folder for them: --out DIR.")
    if table is not None and (forms != ["csv"] or out is not None):
        raise Mistake("--table chooses one table of CSV.", do="Write --format csv --table scaling.")


def _render(content: Report, form: str, table: str | None) -> Content:
    from hpcdl.report import as_csv, formats

    if table is not None:
        return as_csv.write_table(as_csv.choose_table(content, table))
    return formats.render(content, form)


def _print(content: Report, form: str, table: str | None, *, wanted: bool) -> None:
    """Onto stdout; what nobody reads on a terminal into a file instead, unless it is `wanted` there."""
    import sys

    from hpcdl.cli import screen
    from hpcdl.report.formats import FORMATS

    if form in {"terminal", "markdown", "json"}:
        screen.show(content, form)
        return
    written = _render(content, form, table)
    if form in {"html", "pdf"} and sys.stdout.isatty() and not wanted:
        path = Path(f"hpcdl-report{FORMATS[form].suffix}")
        _write(path, written)
        screen.results.print(path.absolute(), soft_wrap=True)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(written if isinstance(written, bytes) else written.encode())


def _fill(folder: Path, content: Report, forms: Sequence[str]) -> None:
    """All files of these formats, each named as it is written."""
    from hpcdl.cli import screen
    from hpcdl.errors import Mistake
    from hpcdl.report import formats

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise Mistake(f"{folder} cannot be made ({problem.strerror}).", do="Name another folder.") from None
    for form in forms:
        for name, written in formats.lay_out(content, form).items():
            _write(folder / name, written)
            screen.results.print(folder / name, soft_wrap=True)


def _write(path: Path, written: Content) -> None:
    from hpcdl.durable import publish
    from hpcdl.errors import Failure, Mistake

    try:
        publish(path, written)
    except Failure as problem:
        raise Mistake(problem.what, do="Name another place.") from None
