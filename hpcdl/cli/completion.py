"""`hpcdl completion`: the script by which a shell completes commands, options, and names of things."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcdl.cli.completing import Shell  # noqa: TC001 (Typer reads the annotations)


def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", metavar="SHELL", show_default=False)],
) -> None:
    """Print the script by which a SHELL completes hpcdl: commands, options, networks, benchmarks, runs."""
    import os
    import subprocess
    import sys

    from hpcdl.errors import Failure

    # Typer makes it, where it is asked in the way in which the script itself will ask later.
    asked = os.environ | {"_HPCDL_COMPLETE": f"source_{shell}"}
    made = subprocess.run(
        [sys.executable, "-m", "hpcdl"], env=asked, capture_output=True, text=True, check=False
    )
    if made.returncode or not made.stdout.strip():
        raise Failure(
            f"no completion was made for {shell}: {made.stderr.strip() or 'without a word'}.",
            do="`hpcdl --show-completion` asks Typer itself.",
        )
    print(made.stdout, end="")
