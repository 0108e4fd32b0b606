"""Handing a report over: onto the screen, into a file, or into a folder, in the formats that were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpcdl.cli.forms import STDOUT, choose_forms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcdl.report.content import Report
    from hpcdl.report.formats import Content

FormOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="terminal, md, html, pdf, csv, json, png, svg; several with commas. Without it, as the file is named.",
    ),
]
OutOption = Annotated[str | None, typer.Option("--out", help="Into files of a folder.", metavar="DIR")]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", help="Into a file; - is stdout.", metavar="FILE")
]


@dataclass(frozen=True)
class Delivery:
    """Formats by name, and where they go: a folder, a file, or the screen where neither is named."""

    forms: tuple[str, ...]
    out: str | None
    output: str | None
    table: str | None = None

    @property
    def pictured(self) -> bool:
        """Whether anything of it shows pictures."""
        from hpcdl.report.formats import FORMATS

        return any(FORMATS[name].pictured for name in self.forms)


def plan_delivery(
    form: str | None, out: str | None, output: str | None, *, as_json: bool, table: str | None = None
) -> Delivery:
    """What was typed, before anything is read or made.

    Raises:
        UnknownName: There is no such format.
        Mistake: The words contradict each other.
    """
    from hpcdl.errors import Mistake

    forms = choose_forms(form, output=output, as_json=as_json)
    if out is not None and output is not None:
        raise Mistake("--out names a folder and --output a file: only one of them.", do="Leave one out.")
    if len(forms) > 1 and out is None:
        raise Mistake("several formats are several files.", do="Name a folder for them: --out DIR.")
    if table is not None and (forms != ["csv"] or out is not None):
        raise Mistake("--table chooses one table of CSV.", do="Write --format csv --table scaling.")
    return Delivery(tuple(forms), out, output, table)


def deliver(content: Report, wanted: Delivery) -> None:
    """Write or print a report.

    Raises:
        Mistake: It cannot be written there, or not in this format.
    """
    if wanted.out is not None:
        _fill(Path(wanted.out), content, wanted.forms)
    elif wanted.output is not None and wanted.output != STDOUT:
        _write(Path(wanted.output), _render(content, wanted.forms[0], wanted.table))
    else:
        _print(content, wanted.forms[0], wanted.table, wanted=wanted.output == STDOUT)


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
