"""Groups of commands that are made when somebody asks for one of them.

Typer makes the options of every command at every start, which by now takes a third of `hpcdl --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typing import Any


class Later(typer.Typer):
    """Stands for `whole` in the application that it is added to."""

    def __init__(self, whole: typer.Typer) -> None:
        super().__init__(
            cls=type("_Made", (_Group,), {"whole": whole}),
            no_args_is_help=True,
            pretty_exceptions_enable=False,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self.whole = whole


class _Group(TyperGroup):
    """As Typer makes it, without its commands: they come with the first question for them."""

    whole: ClassVar[typer.Typer]

    def list_commands(self, ctx: Any) -> list[str]:
        self._complete()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        self._complete()
        return super().get_command(ctx, cmd_name)

    def _complete(self) -> None:
        if not self.commands:
            self.commands.update(typer.main.get_group(self.whole).commands)
