"""`hpcdl published`: figures of others, with their sources and what they leave out."""

from __future__ import annotations

from typing import Annotated

import typer


def published(
    name: Annotated[str | None, typer.Argument(help="A reference, for its figures and conditions.")] = None,
    *,
    form: Annotated[str, typer.Option("--format", help="terminal, markdown or json.")] = "terminal",
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Published figures of others. With a NAME: its rows, source, conditions, and what follows from them."""
    from hpcdl.cli import screen
    from hpcdl.report.published import describe_published, list_published

    screen.show(describe_published(name) if name else list_published(), form, as_json=as_json)
