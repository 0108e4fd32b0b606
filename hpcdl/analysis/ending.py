"""How a launch ended, and which rank began it: from exit records alone, never from two hosts' clocks."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcdl.checks import Checked
    from hpcdl.probes import Probe
    from hpcdl.records import Exit, Summary

State = Literal["planned", "running", "completed", "failed", "refused", "stopped", "lost"]

LOOP_PHASES = ("input", "compute", "exchange", "update")
AFTER_LOOP_PHASES = ("validate", "probe", "end")

# Words of Horovod, MPI, Gloo, NCCL and torch.distributed by which a rank says that another one went away.
COMMUNICATION_WORDS = (
    "allreduce",
    "broken pipe",
    "connection closed",
    "connection refused",
    "connection reset",
    "gloo",
    "horovodinternalerror",
    "horovod has been shut down",
    "mpi_",
    "nccl",
    "peer",
    "rendezvous",
    "socket",
    "timed out waiting",
)


# Slurm's words for a job that did not end by itself.
ENDED_FROM_OUTSIDE = ("CANCELLED", "TIMEOUT", "DEADLINE", "PREEMPTED")
# The exit code of a supervisor that the batch script told to end.
ASKED = 128 + signal.SIGUSR2
# Process states in which a rank holds up the others, wherever it is: stopped, traced, waiting for a disk.
HELD_UP = frozenset({"T", "t", "D"})


@dataclass(frozen=True)
class JobState:
    """What the executor says of the whole job: whether it is over, and in which words ('TIMEOUT')."""

    over: bool
    words: str = ""


@dataclass(frozen=True)
class Ending:
    """The state of a launch, the rank that brought it about, and the ranks without an exit record.

    `story` is one or two sentences for a person; empty where nothing went wrong.
    """

    state: State
    story: str = ""
    culprit: Exit | None = None
    silent: tuple[int, ...] = ()


def judge(
    world_size: int,
    exits: Sequence[Exit],
    *,
    summary: Summary | Probe | Sequence[Checked] | None,
    began: bool,
    job: JobState | None = None,
    alone: bool = False,
) -> Ending:
    """The state of a launch.

    Completed is only what says so: a summary, and an exit record 'completed' from each rank. The job's
    state is asked only for what the records lack: whether a rank without an exit record may still write one.

    Args:
        world_size: How many ranks there must be.
        exits: Exit records, in any order; only those of the last restart count.
        summary: What says that the launch was completed, where there is such a record: a summary, a probe's, or
            what a check has looked at.
        began: There are signs that the launch was started.
        job: What the executor says; None: nobody asked.
        alone: No rank waits for another, so that none ends because of another's end.
    """
    last = _last_by_rank(exits, world_size)
    silent = tuple(rank for rank in range(world_size) if rank not in last)
    if not last:
        return _judge_without_exits(silent, began=began, job=job)
    goes_on = alone and bool(silent) and not _is_over(job)
    culprit = None if goes_on else find_culprit(last.values())
    # Where Slurm takes a job away because a node is lost, its script asks the others to end: then the silence tells.
    stopped = _was_ended(job) or (_was_asked(last) and not silent)
    if culprit is not None and _looks_like_a_follower(culprit) and stopped:
        return Ending("stopped", _tell_stop(last, job), silent=silent)
    if culprit is not None and not (silent and _looks_like_a_follower(culprit) and _is_over(job)):
        state: State = "refused" if culprit.outcome == "refused" else "failed"
        return Ending(state, _tell(culprit, last, silent, alone=alone), culprit, silent)
    if silent:
        return _judge_silent(last, silent, job)
    if all(record.outcome == "completed" for record in last.values()):
        return _judge_complete(summary)
    return Ending("stopped", _tell_stop(last, None))


def _last_by_rank(exits: Sequence[Exit], world_size: int) -> dict[int, Exit]:
    newest = max((record.restart for record in exits), default=0)
    known = [record for record in exits if record.rank < world_size and record.restart == newest]
    return {record.rank: record for record in known}


def _was_ended(job: JobState | None) -> bool:
    """Somebody ended the job from outside; then a rank whose peers went first may have failed before it was told."""
    return job is not None and job.over and job.words.startswith(ENDED_FROM_OUTSIDE)


def _was_asked(last: Mapping[int, Exit]) -> bool:
    """The batch script asked for the end. It does so by USR2; what srun ends for another rank's sake gets TERM."""
    return any(record.outcome == "stopped" and record.exit_code == ASKED for record in last.values())


def _tell_stop(last: Mapping[int, Exit], job: JobState | None) -> str:
    stopped = (record.reason for record in last.values() if record.outcome == "stopped" and record.reason)
    reason = _tell_job_end(job) if _was_ended(job) else next(stopped, "it was told to end")
    return f"the launch was stopped: {reason}."


def _is_over(job: JobState | None) -> bool:
    """Where nobody asked the executor, a rank that has not written by now will not."""
    return job is None or job.over


def _judge_without_exits(silent: tuple[int, ...], *, began: bool, job: JobState | None) -> Ending:
    if job is None or not job.over:
        return Ending("running" if began else "planned")
    ended = _tell_job_end(job)
    if not began:
        return Ending("planned", f"the launch never started: {ended}.")
    return Ending("lost", f"no rank left an exit record, and {ended}.", silent=silent)


def _tell_job_end(job: JobState | None) -> str:
    return f"the job is over ({job.words})" if job and job.words else "the job is over"


def _judge_silent(last: Mapping[int, Exit], silent: tuple[int, ...], job: JobState | None) -> Ending:
    if not _is_over(job):
        return Ending("running", silent=silent)
    why = f" ({_tell_job_end(job)})" if job else ""
    story = (
        f"{format_ranks(silent)} left no exit record{why}: their node or supervisor vanished; "
        f"{format_ranks(last)} ended by {_pronoun(last)}."
    )
    return Ending("lost", story, silent=silent)


def _pronoun(ranks: Iterable[int]) -> str:
    return "itself" if len(list(ranks)) == 1 else "themselves"


def _judge_complete(summary: Summary | Probe | Sequence[Checked] | None) -> Ending:
    if not summary:
        return Ending("failed", "every rank left with 0, but no summary says that the launch was completed.")
    return Ending("completed")


def find_culprit(exits: Iterable[Exit]) -> Exit | None:
    """The rank that ended on its own accord, before those that ended because of it; None if there is none.

    In the order of what cannot be a consequence of another rank's end: killed, refused, hung, failed with an
    error of its own, then what may be one. Among equals, the one that came least far; among ranks that
    hang, the one that is not waiting in the exchange, which is where the others wait for it, or that the kernel
    has stopped there.
    """
    candidates = [record for record in exits if record.outcome not in {"completed", "stopped"}]
    return min(candidates, key=_order, default=None)


def _order(record: Exit) -> tuple[int, tuple[int, int], bool, int]:
    waits = record.phase == "exchange" and record.process_state not in HELD_UP
    return (_weakness(record), _distance(record), waits, record.rank)


def _distance(record: Exit) -> tuple[int, int]:
    """How far a rank came. Outside the loop `last_step` counts images or nothing, so only the phase tells."""
    if record.phase in LOOP_PHASES:
        return (1, record.last_step)
    return (2, 0) if record.phase in AFTER_LOOP_PHASES else (0, 0)


def _weakness(record: Exit) -> int:
    follows = _looks_like_a_follower(record)
    if record.outcome == "killed":
        return 4 if follows else 0
    if record.outcome == "failed":
        return 5 if follows else 3
    return {"refused": 1, "hung": 2}[record.outcome]


def _looks_like_a_follower(record: Exit) -> bool:
    """What another rank's end does to a rank: an error from the exchange, an abort in it, a polite signal."""
    waits = record.phase == "exchange"
    if record.outcome == "killed":
        return record.signal == signal.SIGTERM or (record.signal == signal.SIGABRT and waits)
    if record.outcome == "failed":
        reason = record.reason.lower()
        return any(word in reason for word in COMMUNICATION_WORDS)
    return record.outcome == "hung" and waits and record.process_state not in HELD_UP


def _tell(culprit: Exit, last: Mapping[int, Exit], silent: tuple[int, ...], *, alone: bool) -> str:
    ended = [rank for rank, record in last.items() if rank != culprit.rank and record.outcome != "completed"]
    parts = [f"rank {culprit.rank} ({culprit.host}): {describe_exit(culprit)}"]
    if ended:
        after = (
            "did not complete either" if alone else f"{'was' if len(ended) == 1 else 'were'} ended after it"
        )
        parts.append(f"{format_ranks(ended)} {after}")
    if silent:
        parts.append(f"{format_ranks(silent)} left no exit record")
    return "; ".join(parts) + "."


def describe_exit(record: Exit) -> str:
    """How a rank ended, in words: 'killed by signal 9 (SIGKILL) at step 57'."""
    reason = f": {record.reason.rstrip('.')}" if record.reason else ""
    looping = record.phase in LOOP_PHASES
    place = f"at step {record.last_step}" if looping else f"in phase '{record.phase}'"
    if record.outcome == "killed":
        return f"killed by {_name_signal(record.signal)} {place}"
    if record.outcome == "hung":
        where = f" of step {record.last_step}" if looping else ""
        return f"hung in phase '{record.phase}'{where}{reason}"
    if record.outcome == "refused":
        return f"refused to be measured{reason}"
    if record.outcome == "failed":
        return f"failed {place} with exit code {record.exit_code}{reason}"
    return f"{record.outcome} {place}{reason}"


def _name_signal(number: int | None) -> str:
    if number is None:
        return "a signal"
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def format_ranks(ranks: Iterable[int]) -> str:
    """'rank 2', 'ranks 0, 1, 3' or 'ranks 0-63, 65': runs of three and more are drawn together."""
    return format_members(ranks, "rank", "ranks")


def format_members(numbers: Iterable[int], one: str, several: str) -> str:
    """The same of anything that is numbered."""
    ordered = sorted(numbers)
    spans: list[str] = []
    for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0]):
        members = [rank for _, rank in run]
        drawn = [f"{members[0]}-{members[-1]}"] if len(members) > 2 else [str(rank) for rank in members]
        spans.extend(drawn)
    return f"{one if len(ordered) == 1 else several} {', '.join(spans)}"
