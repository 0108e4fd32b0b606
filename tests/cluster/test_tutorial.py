"""The tutorial, typed: each command of docs/tutorial.md in one shell, in its order."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial.md"
# Other tests need the cluster still; what takes it away at their end is what this would call.
LEFT_OUT = "cd - && make cluster-down"

pytestmark = [pytest.mark.cluster, pytest.mark.horovod, pytest.mark.timeout(600)]


def read_commands(text: str) -> list[str]:
    """What is typed behind each `$ `, with the lines of a here-document below it."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        command.strip("\n")
        for block in blocks
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]


def test_every_command_of_the_tutorial_does_what_it_says(cluster: ModuleType, shared_dir: Path) -> None:
    commands = read_commands(PAGE.read_text())
    assert len(commands) >= 15
    assert commands[-1] == LEFT_OUT
    script = "\n".join(
        ["set -e", *(f"echo '== {number}'\n{command}" for number, command in enumerate(commands[:-1]))]
    )
    typed = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env=os.environ | {"HOME": str(shared_dir), "TERM": "dumb", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = typed.stdout.rpartition("== ")[2].split("\n")[0]
    assert typed.returncode == 0, f"{commands[int(last)]}\n{typed.stdout[-2000:]}\n{typed.stderr[-3000:]}"
    assert "PASS: four-small-nodes" in typed.stdout + typed.stderr
    assert (shared_dir / "hpcdl-tutorial/first.html").stat().st_size > 10_000
    assert (shared_dir / "hpcdl-tutorial/certificate/certificate.html").is_file()
