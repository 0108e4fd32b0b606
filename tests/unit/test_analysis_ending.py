"""How a launch ended, and who began it."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.analysis.ending import JobState, describe_exit, find_culprit, format_ranks, judge
from hpcdl.plan import cluster_sizes, make_launches
from hpcdl.site import Site
from hpcdl.spec import Benchmark
from tests.check_launches import make_checked
from tests.unit.records_maker import KILLED, STOPPED, Recording, make_exit, make_summary

[LAUNCH] = make_launches(Benchmark(), Site(), cluster_sizes(Benchmark(), Site(), cores=8), launcher="srun")
SUMMARY = make_summary(LAUNCH, Recording())
COMPLETED = [make_exit(rank) for rank in range(4)]

GLOO = {"outcome": "failed", "last_step": 9, "reason": "RuntimeError: gloo: Connection closed by peer"}
OWN_ERROR = {"outcome": "failed", "last_step": 9, "phase": "input", "reason": "ValueError: no such thing"}
HUNG = {"outcome": "hung", "exit_code": 124, "last_step": 9}
ABORTED = {"outcome": "killed", "signal": 6, "last_step": 9, "phase": "exchange"}


def test_completed_needs_a_summary_and_every_rank():
    assert judge(4, COMPLETED, summary=SUMMARY, began=True).state == "completed"
    without_summary = judge(4, COMPLETED, summary=None, began=True)
    assert without_summary.state == "failed"
    assert "no summary" in without_summary.story


@pytest.mark.parametrize("absent", [0, 3])
def test_vanished_is_not_completed(absent):
    exits = [record for record in COMPLETED if record.rank != absent]
    ending = judge(4, exits, summary=SUMMARY, began=True)
    assert ending.state == "lost"
    assert ending.silent == (absent,)
    assert f"rank {absent} left no exit record" in ending.story


def test_a_rank_may_still_write_while_the_job_goes_on():
    exits = COMPLETED[:3]
    assert judge(4, exits, summary=None, began=True, job=JobState(over=False)).state == "running"
    lost = judge(4, exits, summary=None, began=True, job=JobState(over=True, words="NODE_FAIL"))
    assert lost.state == "lost"
    assert "NODE_FAIL" in lost.story


@pytest.mark.parametrize(
    ("began", "job", "state"),
    [
        (False, None, "planned"),
        (True, None, "running"),
        (True, JobState(over=False), "running"),
        (True, JobState(over=True), "lost"),
        (False, JobState(over=True, words="TIMEOUT"), "planned"),
    ],
)
def test_without_exit_records(began, job, state):
    assert judge(4, [], summary=None, began=began, job=job).state == state


def test_told_to_end():
    exits = [make_exit(rank, **STOPPED) for rank in range(4)]
    ending = judge(4, exits, summary=None, began=True)
    assert ending.state == "stopped"
    assert ending.culprit is None
    assert "SIGTERM" in ending.story


def test_a_killed_rank_is_named_with_its_host_and_signal():
    exits = [make_exit(rank, **(KILLED if rank == 2 else STOPPED)) for rank in range(4)]
    ending = judge(4, exits, summary=None, began=True)
    assert ending.state == "failed"
    assert ending.story == (
        "rank 2 (node3): killed by signal 9 (SIGKILL) at step 9; ranks 0, 1, 3 were ended after it."
    )


@pytest.mark.parametrize(
    ("culprit", "follower"),
    [
        (KILLED, {"outcome": "refused"}),
        ({"outcome": "refused"}, HUNG),
        (HUNG, OWN_ERROR),
        (OWN_ERROR, GLOO),
        (KILLED, ABORTED),
        (OWN_ERROR, ABORTED),
        (ABORTED, GLOO),
        (GLOO, STOPPED),
        (KILLED, KILLED | {"last_step": 10}),
        (HUNG | {"last_step": 8}, HUNG | {"phase": "compute"}),
        (HUNG | {"phase": "input"}, HUNG),
        # Before the loop a rank has come less far than in its first step.
        (HUNG | {"phase": "rendezvous", "last_step": 0}, HUNG | {"last_step": 0}),
        # In these phases the number counts images.
        (HUNG | {"phase": "compute", "last_step": 3}, HUNG | {"phase": "validate", "last_step": 0}),
        (HUNG | {"phase": "data", "last_step": 900}, HUNG | {"phase": "compute", "last_step": 1}),
    ],
)
def test_who_began(culprit, follower):
    """Whichever ranks they are, and in whichever order they are read."""
    for first, second in ((0, 3), (3, 0)):
        exits = [make_exit(first, **culprit), make_exit(second, **follower)]
        assert find_culprit(exits).rank == first
        assert find_culprit(exits[::-1]).rank == first


def test_nobody_began_where_all_completed_or_were_stopped():
    assert find_culprit([make_exit(0), make_exit(1, **STOPPED)]) is None


def test_a_lost_node_is_the_cause_of_its_neighbours_errors():
    exits = [make_exit(0, **GLOO), make_exit(1, **GLOO)]
    ending = judge(4, exits, summary=None, began=True)
    assert ending.state == "lost"
    assert ending.silent == (2, 3)
    assert "ranks 2, 3 left no exit record" in ending.story


def test_a_killed_rank_stays_the_cause_where_others_are_silent():
    ending = judge(4, [make_exit(0, **KILLED)], summary=None, began=True)
    assert ending.state == "failed"
    assert ending.culprit.rank == 0
    assert "ranks 1-3 left no exit record" in ending.story


def test_refusal_is_a_state_of_its_own():
    exits = [make_exit(rank, outcome="refused", reason="4 ranks were asked for.") for rank in range(4)]
    ending = judge(4, exits, summary=None, began=True)
    assert ending.state == "refused"
    assert "refused to be measured: 4 ranks were asked for" in ending.story


def test_only_the_last_restart_counts():
    first = [make_exit(rank, restart=0) for rank in range(2)]
    assert judge(2, [*first, make_exit(0, restart=1)], summary=SUMMARY, began=True).state == "lost"
    second = [make_exit(rank, restart=1) for rank in range(2)]
    assert judge(2, [*second, *first], summary=SUMMARY, began=True).state == "completed"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"outcome": "killed", "signal": 99, "phase": "input", "last_step": 3},
            "killed by signal 99 at step 3",
        ),
        ({"outcome": "killed", "signal": None, "phase": "data"}, "killed by a signal in phase 'data'"),
        (
            HUNG | {"reason": "no progress for 300 s."},
            "hung in phase 'exchange' of step 9: no progress for 300 s",
        ),
        (OWN_ERROR, "failed at step 9 with exit code 1: ValueError: no such thing"),
    ],
)
def test_words_for_an_exit(changes, words):
    assert describe_exit(make_exit(0, **changes)) == words


def test_ranks_are_drawn_together():
    assert format_ranks([2]) == "rank 2"
    assert format_ranks([3, 0, 1]) == "ranks 0, 1, 3"
    assert format_ranks([*range(64), 65, 66, *range(70, 73)]) == "ranks 0-63, 65, 66, 70-72"


def test_a_rank_that_fails_because_the_job_is_cancelled_is_no_culprit():
    exits = [make_exit(0, **STOPPED), make_exit(1, **GLOO)]
    ended = judge(2, exits, summary=None, began=True, job=JobState(over=True, words="CANCELLED by 0"))
    assert (ended.state, ended.culprit) == ("stopped", None)
    by_itself = judge(2, exits, summary=None, began=True, job=JobState(over=True, words="FAILED"))
    assert by_itself.state == "failed"


def test_a_rank_that_fails_because_the_script_asked_for_the_end_is_no_culprit():
    asked = make_exit(0, outcome="stopped", exit_code=128 + signal.SIGUSR2, reason="ended by SIGUSR2")
    ended = judge(
        2, [asked, make_exit(1, **GLOO)], summary=None, began=True, job=JobState(over=True, words="FAILED")
    )
    assert (ended.state, ended.culprit) == ("stopped", None)
    assert "SIGUSR2" in ended.story
    own_error = make_exit(1, outcome="failed", reason="ValueError: no")
    assert judge(2, [asked, own_error], summary=None, began=True).state == "failed"


def test_a_lost_node_is_told_although_the_script_asked_the_others_to_end():
    """Slurm takes the job away, and its script says so to the ranks that are left."""
    asked = make_exit(0, outcome="stopped", exit_code=128 + signal.SIGUSR2, reason="ended by SIGUSR2")
    exits = [asked, make_exit(1, **GLOO)]
    ended = judge(3, exits, summary=None, began=True, job=JobState(over=True, words="NODE_FAIL"))
    assert (ended.state, ended.silent) == ("lost", (2,))
    assert "rank 2 left no exit record" in ended.story


def test_a_stopped_rank_holds_up_the_others_also_where_they_wait():
    waiting = [make_exit(rank, **HUNG, phase="exchange", process_state="S") for rank in (0, 1, 3)]
    stopped = make_exit(2, **HUNG, phase="exchange", process_state="T")
    assert find_culprit([*waiting, stopped]) == stopped


OUTCOMES = st.sampled_from(["completed", "refused", "failed", "killed", "hung", "stopped"])


@given(st.lists(st.tuples(st.integers(0, 5), OUTCOMES), max_size=12), st.booleans(), st.booleans())
def test_completed_only_ever_by_every_word(pairs, summarised, began):
    exits = [make_exit(rank, outcome=outcome) for rank, outcome in pairs]
    ending = judge(4, exits, summary=SUMMARY if summarised else None, began=began)
    last = {record.rank: record.outcome for record in exits}
    every_word = summarised and all(last.get(rank) == "completed" for rank in range(4))
    assert (ending.state == "completed") is every_word
    if ending.state not in {"planned", "running", "completed"}:
        assert ending.story


# ---- Checks, whose ranks wait for nobody ----

LOOKED = [make_checked()]


def test_a_check_is_complete_when_every_rank_says_so_and_something_was_looked_at():
    assert judge(4, COMPLETED, summary=LOOKED, began=True, alone=True).state == "completed"
    assert judge(4, COMPLETED, summary=[], began=True, alone=True).state == "failed"


def test_a_rank_of_a_check_that_failed_does_not_end_the_others():
    exits = [make_exit(0, **OWN_ERROR), make_exit(1), make_exit(2, **KILLED)]
    going_on = judge(4, exits, summary=LOOKED, began=True, job=JobState(over=False), alone=True)
    assert (going_on.state, going_on.silent) == ("running", (3,))
    ended = judge(4, [*exits, make_exit(3)], summary=LOOKED, began=True, alone=True)
    assert ended.state == "failed"
    assert ended.culprit.rank == 2
    assert "rank 0 did not complete either" in ended.story
