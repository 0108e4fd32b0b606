"""What a shell is told to propose, asked through a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcdl.cli.completing import Shell

BIN = Path(sys.executable).parent
# As bash does it when Tab is hit behind the last word.
ASK = """
source <(hpcdl completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_hpcdl_completion hpcdl
printf '%s\\n' "${COMPREPLY[@]}"
"""


def propose(*words: str, **environment: str) -> list[str]:
    path = f"{BIN}:{os.environ['PATH']}"
    told = subprocess.run(
        ["bash", "-c", ASK, "bash", "hpcdl", *words],
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    return told.stdout.split()


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (("acc",), ["accept"]),
        (("run", "smo"), ["smoke"]),
        (("submit", "--model", "overfeat-"), ["overfeat-fast"]),
        (("published", "horo"), ["horovod-512"]),
        (("accept", "suites", "burn"), ["burn-in"]),
    ],
)
def test_bash_completes_commands_and_names(words: tuple[str, ...], proposed: list[str]) -> None:
    assert propose(*words) == proposed


def test_runs_are_proposed_the_newest_first(tmp_path: Path) -> None:
    for name in ("20260101-000000-aaaa", "20260102-000000-bbbb"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "job.json").write_text("{}")
    found = propose("status", "", HPCDL_STORE=str(tmp_path))
    assert found == ["last", "20260102-000000-bbbb", "20260101-000000-aaaa"]


def test_a_broken_site_file_leaves_the_command_line_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("[slurm\n")
    assert propose("status", "", HPCDL_SITE=str(tmp_path / "site.toml"), HPCDL_STORE="") == []


@pytest.mark.parametrize("shell", list(Shell))
def test_each_shell_gets_a_script_of_its_own(shell: Shell) -> None:
    made = subprocess.run(
        [BIN / "hpcdl", "completion", shell.value], capture_output=True, text=True, check=True
    ).stdout
    assert "_HPCDL_COMPLETE" in made
    assert f"complete_{shell.value}" in made
