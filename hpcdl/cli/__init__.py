"""What a person types: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from hpcdl.errors import HpcdlError

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line; the exit code is 0, 1 for a failure, 2 for a mistake, 130 after Ctrl-C."""
    try:
        # In here, since Ctrl-C may come while it is imported.
        from hpcdl.cli.app import app

        code = app(standalone_mode=False, prog_name="hpcdl")
        sys.stdout.flush()
    except HpcdlError as problem:
        say(problem)
        code = problem.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # `hpcdl list | head` closed our stdout: point it elsewhere, so that leaving does not fail again.
        # 1, as Typer and Rich leave with where they notice it first.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as problem:  # noqa: BLE001 (_translate raises what it does not know)
        code = _translate(problem)
    if code == INTERRUPTED:
        # An interruption within exec(), by which dataclasses are made during imports, is remembered by CPython
        # though it was caught, and would end the process by the signal; the next exec() of a text forgets it.
        exec("")  # noqa: S102
    sys.exit(code or 0)


def _translate(problem: Exception) -> int:
    """Typer's own complaints (a wrong option, a missing argument) in our manner; a defect stays a defect.

    A complaint is known by its shape: newer versions of Typer carry a Click of their own, older ones use the
    installed one, so that the classes have two homes.
    """
    import typer

    if isinstance(problem, typer.Abort):
        return INTERRUPTED
    if isinstance(problem, typer.Exit):
        return problem.exit_code
    if hasattr(problem, "format_message"):
        _complain(problem.format_message(), getattr(problem, "ctx", None))
        return 2
    if os.environ.get("HPCDL_TRACEBACK"):
        raise problem
    say(
        HpcdlError(
            f"this is a defect of hpcdl: {type(problem).__name__}: {problem}.",
            do="Run again with HPCDL_TRACEBACK=1 and report what it prints.",
        )
    )
    return 1


def _complain(words: str, context: Any) -> None:
    # Without words: there were no arguments, and the help is on the screen already.
    if words:
        command = context.command_path if context else "hpcdl"
        say(HpcdlError(words if words.endswith((".", "?")) else f"{words}.", do=f"See `{command} --help`."))


def say(problem: HpcdlError) -> None:
    """An error on stderr: what happened and why; below it, what to do."""
    # Here, so that `hpcdl` begins without it: what went wrong may name what a record says.
    from hpcdl.report.controls import replace_controls

    print(f"hpcdl: {replace_controls(problem.what, lines=True)}", file=sys.stderr)
    if problem.do:
        print(f"       {replace_controls(problem.do, lines=True)}", file=sys.stderr)
