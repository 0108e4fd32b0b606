"""In which formats a report is wanted, by what was typed; and how it was asked for, for the lines at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcdl.report.asking import Asking

STDOUT = "-"


def choose_forms(form: str | None, *, output: str | None, as_json: bool) -> list[str]:
    """The names of the formats: those of --format or --json; else what the file's name ends in; else the terminal's.

    Raises:
        UnknownName: There is no such format.
        Mistake: --json stands beside another format, --format names none, or --output is to hold several pictures.
    """
    from hpcdl.report.formats import find_by_suffix

    forms = _read_forms(form, as_json=as_json)
    if not forms:
        forms = [(output and find_by_suffix(output)) or "terminal"]
    if output is not None:
        _require_documents(forms, output)
    return forms


def _read_forms(form: str | None, *, as_json: bool) -> list[str]:
    from hpcdl.errors import Mistake
    from hpcdl.report.formats import settle_name

    forms = [settle_name(part.strip()) for part in (form or "").split(",") if part.strip()]
    if form is not None and not forms:
        raise Mistake(f"--format {form!r} names no format.", do="Write --format html, or --format pdf,csv.")
    if as_json and forms not in ([], ["json"]):
        raise Mistake(f"--json and --format {form} are different formats.", do="Leave one of them out.")
    return ["json"] if as_json else list(dict.fromkeys(forms))


def _require_documents(forms: Sequence[str], output: str) -> None:
    from hpcdl.errors import Mistake
    from hpcdl.report.formats import FORMATS

    for name in forms:
        if FORMATS[name].render is None:
            raise Mistake(
                f"--output {output}: {name} is one file for each picture, and no document.",
                do=f"Name a folder for them: --format {name} --out DIR.",
            )


def note_asking(
    runs: Sequence[str] | None, where: str | None, options: Mapping[str, str | None], flags: Sequence[str]
) -> Asking:
    """What was typed, as far as it says of what the report is.

    Args:
        runs: The words that name runs; nothing, or `last`, is another run another day.
        where: The query that chose them instead.
        options: Options with their values; None: not given.
        flags: Options without values, and those that were given several times.
    """
    from hpcdl.report.asking import Asking

    words = ("--where", where) if where is not None else tuple(runs or ())
    given = [(name, value) for name, value in options.items() if value is not None]
    return Asking(
        runs=() if words == ("last",) else words,
        flags=(*(word for pair in given for word in pair), *flags),
        elsewhere="--store" in flags or any((Path(text) / "job.json").is_file() for text in runs or ()),
    )
