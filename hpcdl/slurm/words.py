"""What Slurm says of a job, read from the text of squeue, sacct and scontrol into one table of states."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


ENERGY_FORMAT = "JobIDRaw,ConsumedEnergyRaw,ElapsedRaw"


class State(StrEnum):
    """Slurm's many words, as far as hpcdl acts on them."""

    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    LOST = "lost"  # the nodes were taken away from it
    UNKNOWN = "unknown"  # a word that is not in the table

    @property
    def is_over(self) -> bool:
        """Nothing of the job runs any more, and nothing will."""
        return self in _OVER


_OVER = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMEOUT, State.LOST})

# slurm.h's job states and state flags, as `man squeue` and `man sacct` spell them.
WORDS = {
    "PENDING": State.PENDING,
    "CONFIGURING": State.PENDING,
    "EXPEDITING": State.PENDING,
    "POWER_UP_NODE": State.PENDING,
    "REQUEUED": State.PENDING,
    "REQUEUE_FED": State.PENDING,
    "REQUEUE_HOLD": State.PENDING,
    "RESV_DEL_HOLD": State.PENDING,
    "SPECIAL_EXIT": State.PENDING,
    "RUNNING": State.RUNNING,
    "RESIZING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STOPPED": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "COMPLETING": State.ENDING,
    "STAGE_OUT": State.ENDING,
    "UPDATE_DB": State.ENDING,
    "COMPLETED": State.COMPLETED,
    "FAILED": State.FAILED,
    "LAUNCH_FAILED": State.FAILED,
    "OUT_OF_MEMORY": State.FAILED,
    "RECONFIG_FAIL": State.FAILED,
    "CANCELLED": State.CANCELLED,
    "REVOKED": State.CANCELLED,
    "DEADLINE": State.TIMEOUT,
    "TIMEOUT": State.TIMEOUT,
    "BOOT_FAIL": State.LOST,
    "NODE_FAIL": State.LOST,
    "PREEMPTED": State.LOST,
}

# One row for each job; what may hold the separator itself comes last.
SQUEUE_FORMAT = "JobID:|,State:|,exit_code:|,TimeUsed:|,StartTime:|,NodeList:|,Reason:|"
SACCT_FORMAT = "JobIDRaw,State,ExitCode,ElapsedRaw,Start,NodeList,Reason"

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_NOTHING = frozenset({"", "None", "(null)", "N/A", "Unknown", "None assigned"})


@dataclass(frozen=True)
class JobState:
    """Where a job stands. `word` is Slurm's own; None: Slurm did not say.

    `start` is when it began, for a pending job Slurm's estimate. `exit_code` and `signal` are the batch
    script's, once it is over.
    """

    state: State
    word: str
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    elapsed_s: int | None = None
    start: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Nothing of the job runs any more, and nothing will."""
        return self.state.is_over


def read_word(word: str) -> State:
    """The state behind 'RUNNING', 'CANCELLED by 1000', 'CANCELLED+', 'OUT_OF_ME+'."""
    bare = word.partition(" ")[0].upper()
    if bare.endswith("+"):  # cut to a column's width
        fitting = {state for known, state in WORDS.items() if known.startswith(bare[:-1])}
        return fitting.pop() if len(fitting) == 1 else State.UNKNOWN
    return WORDS.get(bare, State.UNKNOWN)


def read_squeue(text: str) -> dict[int, JobState]:
    """Jobs by id, from `squeue --noheader --states=all --Format` with SQUEUE_FORMAT."""
    return {job_id: _interpret(row, read_elapsed_s(row.elapsed)) for job_id, row in _rows(text)}


def read_sacct(text: str) -> dict[int, JobState]:
    """Jobs by id, from `sacct --noheader --parsable2 --allocations --format` with SACCT_FORMAT.

    A job that was requeued may stand there more than once; its last row counts.
    """
    return {job_id: _interpret(row, _read_seconds(row.elapsed)) for job_id, row in _rows(text)}


# sacct writes one of these where nothing was counted (slurm.h: NO_VAL, NO_VAL64 and INFINITE64), and 0 where nothing
# counts.
_NO_ENERGY = frozenset({0, 2**32 - 2, 2**64 - 2, 2**64 - 1})


def read_energies(text: str) -> dict[int, tuple[float, float]]:
    """Joules and seconds of a job's numbered steps, from `sacct --noheader --parsable2` with ENERGY_FORMAT.

    Steps for which nothing was counted are not there: nothing is not zero.
    """
    found = {}
    for line in text.splitlines():
        job, *fields = line.split("|")
        step = job.partition(".")[2]
        if len(fields) == 2 and all(_NUMBER.fullmatch(one) for one in (step, *fields)):
            joules, seconds = map(int, fields)
            if joules not in _NO_ENERGY and seconds:
                found[int(step)] = (float(joules), float(seconds))
    return found


def read_scontrol(text: str) -> JobState | None:
    """One job, from `scontrol --oneliner show job`; None where the text holds none."""
    # The first of each name: later ones may stand inside a free text, such as the comment.
    fields = {match["name"]: match["value"] for match in reversed(list(_FIELD.finditer(text)))}
    if "JobState" not in fields:
        return None
    names = ("JobState", "ExitCode", "RunTime", "StartTime", "NodeList", "Reason")
    row = _Row(*(fields.get(name, "") for name in names))
    return _interpret(row, read_elapsed_s(row.elapsed))


class _Row(NamedTuple):
    """What all three programs say, still as text."""

    word: str
    code: str
    elapsed: str
    start: str
    nodes: str
    reason: str


def _rows(text: str) -> Iterator[tuple[int, _Row]]:
    # What is no row of ours (a cluster's headline, a site's greeting, a job step) is passed over.
    for line in text.splitlines():
        job_id, *fields = line.split("|", 6)
        if _NUMBER.fullmatch(job_id) and len(fields) == 6:
            yield int(job_id), _Row(*fields)


def _interpret(row: _Row, elapsed_s: int | None) -> JobState:
    state = read_word(row.word)
    exit_code, number = read_exit_code(row.code) if state.is_over else (None, None)
    return JobState(
        state=state,
        word=row.word,
        reason=_said(row.reason.rstrip("|")),
        exit_code=exit_code,
        signal=number,
        nodes=_said(row.nodes),
        elapsed_s=elapsed_s,
        start=read_time(row.start),
    )


def _read_seconds(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _said(text: str) -> str:
    return "" if text.strip() in _NOTHING else text.strip()


def read_exit_code(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal, from sacct's and scontrol's '3:9' or squeue's wait status '777'; None: no signal."""
    code, colon, number = text.partition(":")
    if not _NUMBER.fullmatch(code) or (colon and not _NUMBER.fullmatch(number)):
        return None, None
    if colon:
        return int(code), int(number) or None
    status = int(code)
    if os.WIFSIGNALED(status):
        return 0, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None


_ELAPSED = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", re.ASCII)


def read_elapsed_s(text: str) -> int | None:
    """Seconds in '[days-][hours:]minutes:seconds'; None for anything else ('INVALID')."""
    match = _ELAPSED.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def read_time(text: str) -> datetime | None:
    """An instant, from Slurm's ISO form without a zone, which is this machine's; None for 'N/A' or 'Unknown'."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except ValueError:
        return None


# In scontrol's one line, values may hold spaces; those that are read here do not.
_FIELD = re.compile(
    r"(?:^|(?<=\s))(?P<name>JobState|Reason|ExitCode|RunTime|StartTime|NodeList)=(?P<value>\S*)"
)
