"""Where things are printed: results on stdout, talk on stderr; colour only on a terminal.

Without markup: a path may hold square brackets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from hpcdl.report.content import Report

results = Console(highlight=False, markup=False)
talk = Console(stderr=True, highlight=False, markup=False)


def show(report: Report, form: str = "terminal", *, as_json: bool = False) -> None:
    """A report on stdout, in a format of text by name.

    Raises:
        UnknownName: There is no such format.
        Mistake: It is no text, or JSON is asked for as well.
    """
    from hpcdl.errors import Mistake
    from hpcdl.report import as_terminal
    from hpcdl.report.formats import render_text, settle_name

    form = settle_name(form)
    if as_json and form not in {"terminal", "json"}:
        raise Mistake(f"--json and --format {form} are different formats.", do="Leave one of them out.")
    if form == "terminal" and not as_json:
        as_terminal.render(report, results)
    else:
        print(render_text(report, "json" if as_json else form).rstrip("\n"), flush=True)
