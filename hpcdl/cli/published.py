"""`hpcdl published`: figures of others, with their sources and what they leave out."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcdl.cli import completing
from hpcdl.cli.delivery import FormOption, OutOption, OutputOption, deliver, plan_delivery


def published(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A reference, for its figures and conditions.", autocompletion=completing.published
        ),
    ] = None,
    *,
    form: FormOption = None,
    out: OutOption = None,
    output: OutputOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Published figures of others. With a NAME: its rows, source, conditions, and what follows from them."""
    from hpcdl.report.published import describe_published, list_published

    delivery = plan_delivery(form, out, output, as_json=as_json)
    deliver(describe_published(name) if name else list_published(), delivery)
