"""`hpcdl models`: the networks, from their layer tables alone."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcdl.cli import completing


def models(
    name: Annotated[
        str | None, typer.Argument(help="A network, for its layers.", autocompletion=completing.networks)
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """The networks: input, parameters, MACs, FLOPs, gradient bytes. With a NAME, its layer table."""
    from hpcdl.cli import screen
    from hpcdl.report.models import describe_model, list_models

    screen.show(describe_model(name) if name else list_models(), as_json=as_json)
