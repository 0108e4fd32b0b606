"""Starting Slurm's programs: as argument lists, with a time limit, in an environment that says only which Slurm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcdl.errors import Failure, Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Slurm's own MessageTimeout is 10 s, and its programs try more than once.
TIMEOUT_S = 60.0

# Defaults for Slurm's programs that a shell or a surrounding job may carry, and that would change what is asked.
_OPTION_PREFIXES = ("SALLOC_", "SACCT_", "SBATCH_", "SCANCEL_", "SINFO_", "SLURM_", "SQUEUE_", "SRUN_")
# These say which Slurm is meant, and who asks.
_KEPT = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"})

_UNREACHABLE = (
    "unable to contact slurm controller",
    "could not establish a configuration source",
    "unable to process configuration file",
    "connection refused",
    "communication connection failure",
    "socket timed out",
    "zero bytes were transmitted",
    "slurm backup controller in standby mode",
)
_PREFIX = re.compile(r"^\w+: (?:error: |fatal: |warning: )?")


class Unreachable(Failure):
    """Slurm did not answer; what is already running goes on without us."""


class Ambiguous(Unreachable):
    """Slurm did not answer to a submission: it may have taken the job all the same."""


@dataclass(frozen=True)
class Answer:
    """What a program left with: exit code, standard output, and its words on standard error, without its name."""

    code: int
    out: str
    words: str

    @property
    def is_silence(self) -> bool:
        """The program could not reach the daemons."""
        return self.code != 0 and any(phrase in self.words.lower() for phrase in _UNREACHABLE)


def ask(
    argv: Sequence[str], *, timeout_s: float = TIMEOUT_S, stdin: str = "", cwd: Path | None = None
) -> Answer:
    """Run one of Slurm's programs to its end.

    Raises:
        Mistake: The program is not on PATH.
        Unreachable: No answer within `timeout_s` seconds; the program is ended, with all that it started.
    """
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(os.environ),
            cwd=cwd,
            # A group of its own: sites wrap sbatch into scripts, whose children would keep our pipes open.
            process_group=0,
        )
    except FileNotFoundError:
        raise _no_slurm(argv[0]) from None
    try:
        out, err = child.communicate(stdin.encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Unreachable(
            f"{argv[0]} has not answered for {timeout_s:.0f} s.",
            do="Nothing is lost; ask again when Slurm answers (`scontrol ping`).",
        ) from None
    finally:
        _end(child)
    return Answer(child.returncode, out.decode(errors="replace"), clean_words(err.decode(errors="replace")))


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _no_slurm(program: str) -> Mistake:
    return Mistake(
        f"there is no Slurm on this machine: {program} is not on PATH.",
        do="Train here with `hpcdl run …`, or look at the script with --dry-run.",
    )


def unreachable(answer: Answer) -> Unreachable:
    """The error for an answer that is silence."""
    return Unreachable(
        f"Slurm does not answer: '{answer.words}'.",
        do="Nothing is lost; ask again when it does (`scontrol ping`).",
    )


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without options for Slurm's programs; messages are asked for in English."""
    kept = {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not name.startswith(_OPTION_PREFIXES)
    }
    return kept | {"LC_ALL": "C"}


def clean_words(text: str) -> str:
    """Error output in one line, without the names of programs and severities before each sentence."""
    lines = (_PREFIX.sub("", line.strip()) for line in text.splitlines())
    return "; ".join(line for line in lines if line)
