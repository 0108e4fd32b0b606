"""The index of a store: trusted only while nothing changed, never believed when damaged, and several stores as one."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.analysis import index as index_module
from hpcdl.analysis import index_file
from hpcdl.analysis.catalogue import read_folders, read_stores, select_runs
from hpcdl.analysis.ending import JobState
from hpcdl.analysis.index import Index
from hpcdl.analysis.index_file import decode_column, encode_column
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.rows import COLUMNS
from hpcdl.durable import publish_record
from hpcdl.errors import Mistake
from hpcdl.records import Submission
from hpcdl.store import Store
from hpcdl.stores import Stores
from tests.unit.records_maker import KILLED, Recording, record, write_run

FORK = multiprocessing.get_context("fork")
FIRST, SECOND, THIRD = "20261122-141200-aaaa", "20261123-141200-bbbb", "20261124-141200-cccc"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


def age(run, seconds=100.0):
    """As if nothing had been written to the run for so long."""
    then = time.time() - seconds
    for path in (*(path.parent for path in run.path.glob("*/plan.json")), run.path):
        os.utime(path, (then, then))
    return run


def make_run(root, run_id=FIRST, *, rate=1000.0, recording=None, **asked):
    run = write_run(root, run_id=run_id, **asked)
    for index in range(1, len(run.job().launches) + 1):
        record(run, index, Recording(images_per_s=rate, **(recording or {})))
    return age(run)


def read(root, **options):
    catalogue = read_stores(Stores([Store(root)]), **options)
    return catalogue.rows(range(sum(catalogue.counts)))


@pytest.fixture
def reads(monkeypatch):
    """The runs whose records were read, in turn."""
    seen = []

    def analyse(run, *arguments, **options):
        seen.append(run.run_id)
        return analyse_run(run, *arguments, **options)

    monkeypatch.setattr(index_module, "analyse_run", analyse)
    return seen


# ---- Rows ----


def test_a_row_says_what_the_report_says(root):
    run = make_run(root, nodes=(1, 2), repeat=1, rate=1234.0)
    rows = read(root)
    result = analyse_run(run)
    assert [row["nodes"] for row in rows] == [1, 2]
    assert [row["images_per_s"] for row in rows] == [launch.images_per_s for launch in result.launches]
    assert rows[0]["images_per_s_low"] == result.launches[0].interval.low
    assert (rows[0]["run_id"], rows[0]["benchmark_id"]) == (FIRST, result.job.benchmark_id)
    assert rows[1]["hosts"] == "node1, node2"
    assert (rows[0]["slurm_job_id"], rows[0]["torch"], rows[0]["time"]) == (
        48151,
        "2.13.0",
        "2026-11-22T14:12:00Z",
    )
    assert all(set(row) == set(COLUMNS) for row in rows)


def test_what_is_missing_has_a_reason_and_no_number(root):
    make_run(root, recording={"outcomes": {0: KILLED}, "summarised": False})
    [row] = read(root)
    assert (row["state"], row["images_per_s"]) == ("failed", None)
    assert row["why_missing"]
    assert row["average_w"] is None
    assert row["energy_missing"]


# ---- Trust ----


def test_a_run_is_read_once_while_nothing_changes(root, reads):
    make_run(root)
    first = read(root)
    assert read(root) == first
    assert reads == [FIRST]


@pytest.mark.parametrize("place", ["run", "launch"])
def test_a_new_file_in_its_folders_makes_it_read_again(root, reads, place):
    run = make_run(root)
    read(root)
    folder = run.path if place == "run" else run.launches()[0].path
    (folder / "later").write_text("x")
    read(root)
    assert reads == [FIRST, FIRST]


def test_a_summary_that_is_published_anew_is_seen(root):
    run = make_run(root)
    read(root)
    shutil.rmtree(run.path)
    make_run(root, rate=2000.0)
    os.utime(run.path)
    assert [row["images_per_s"] for row in read(root)] == [pytest.approx(2000.0, rel=0.01)]


def test_what_was_written_just_now_is_not_trusted(root, reads):
    age(make_run(root), seconds=1.0)
    read(root)
    read(root)
    assert reads == [FIRST, FIRST]


def test_a_run_that_goes_on_is_always_read(root, reads):
    run = write_run(root, run_id=FIRST)
    record(run, 1, Recording(outcome=None, summarised=False, steps=3))
    age(run, seconds=1e6)
    assert read(root)[0]["state"] == "running"
    read(root)
    assert reads == [FIRST, FIRST]


BROKEN = {"outcomes": {0: KILLED}, "summarised": False}


@pytest.mark.parametrize(
    ("quiet_s", "state", "trusted"),
    [
        (100.0, None, False),
        (100.0, JobState(over=False), False),
        (100.0, JobState(over=True, words="FAILED"), True),
        (200_000.0, None, True),
    ],
)
def test_a_failed_run_is_trusted_once_it_is_over(root, reads, quiet_s, state, trusted):
    age(make_run(root, recording=BROKEN), seconds=quiet_s)

    def ask(runs):
        return {run.run_id: state for run in runs} if state else {}

    read(root, ask=ask)
    reads.clear()
    read(root, ask=ask)
    assert (not reads) == trusted


def test_only_what_did_not_complete_is_asked_about(root):
    make_run(root)
    make_run(root, SECOND, recording=BROKEN)
    asked = []
    read(root, ask=lambda runs: asked.extend(run.run_id for run in runs) or {})
    assert asked == [SECOND]


def test_what_the_executor_says_makes_the_state(root):
    run = write_run(root, run_id=FIRST)
    record(run, 1, Recording(outcome=None, summarised=False, steps=3))
    [row] = read(root, ask=lambda runs: {FIRST: JobState(over=True, words="NODE_FAIL")})
    assert row["state"] == "lost"


def test_of_the_newest_only_those_are_read_and_the_others_stay_in_the_cache(root, reads):
    make_run(root)
    make_run(root, SECOND)
    read(root)
    make_run(root, THIRD)
    reads.clear()
    assert [row["run_id"] for row in read(root, last=1)] == [THIRD]
    assert len(read(root)) == 3
    assert reads == [THIRD]


def test_a_run_that_was_removed_is_gone(root, reads):
    first = make_run(root)
    make_run(root, SECOND)
    read(root)
    shutil.rmtree(first.path)
    make_run(root, THIRD)
    assert [row["run_id"] for row in read(root)] == [SECOND, THIRD]
    assert index_file.load(root, list(COLUMNS)).runs == [SECOND, THIRD]


def test_anew_trusts_nothing(root, reads):
    make_run(root)
    read(root)
    read(root, anew=True)
    assert reads == [FIRST, FIRST]


def test_a_run_that_cannot_be_read_is_told_and_hides_no_other(root):
    make_run(root)
    write_run(root, run_id=SECOND).job_path.write_text("{")
    catalogue = read_stores(Stores([Store(root)]))
    assert len(catalogue.runs()) == 1
    [problem] = catalogue.problems
    assert SECOND in problem


# ---- The file ----


def torn(path):
    path.write_bytes(path.read_bytes()[:-200])


def foreign(path):
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))


def other_code(path):
    head, rest = path.read_text().split("\n", 1)
    path.write_text(json.dumps(json.loads(head) | {"stamp": "0" * 16}) + "\n" + rest)


def rotten(path):
    """One digit in the middle of a column is another."""
    text = path.read_text()
    place = text.index("1000.") if "1000." in text else text.index("999.")
    path.write_text(text[:place] + "7" + text[place + 1 :])


def garbage(path):
    path.write_bytes(b"\x80\x00\xff" * 50)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [torn, foreign, other_code, rotten, garbage, empty])
def test_a_cache_that_is_damaged_costs_only_time(root, reads, damage):
    make_run(root)
    rows = read(root)
    damage(index_file.place_of(root))
    assert read(root) == rows
    assert reads == [FIRST, FIRST]
    assert read(root) == rows
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_is_told(root, tmp_path):
    make_run(root)
    (tmp_path / "cache").write_text("a file")
    catalogue = read_stores(Stores([Store(root)]))
    assert sum(catalogue.counts) == 1
    assert catalogue.unsaved


def test_stores_have_caches_of_their_own(root, tmp_path):
    make_run(root)
    make_run(tmp_path / "other" / "runs", rate=2000.0)
    rates = [read(place)[0]["images_per_s"] for place in (root, tmp_path / "other" / "runs")] * 2
    assert rates == pytest.approx([1000.0, 2000.0] * 2, rel=0.01)


def _look(root, barrier, answers):
    barrier.wait()
    answers.put(len(read(root)))


def test_two_processes_at_once_lose_nothing(root):
    for number in range(6):
        make_run(root, f"2026112{number}-141200-aaaa")
    barrier, answers = FORK.Barrier(4), FORK.SimpleQueue()
    processes = [FORK.Process(target=_look, args=(root, barrier, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [answers.get() for _ in processes] == [6] * 4
    for process in processes:
        process.join()
    assert len(index_file.load(root, list(COLUMNS)).runs) == 6
    assert [path.suffix for path in index_file.place_of(root).parent.iterdir()] == [".jsonl"]


VALUES = st.lists(
    st.one_of(
        st.none(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
        st.sampled_from([0, 0.0, 1, 1.0, "a", ""]),
        st.lists(st.text(max_size=3), max_size=3),
    ),
    max_size=30,
)


@given(VALUES)
def test_a_column_comes_back_as_it_was(values):
    back = decode_column(json.loads(json.dumps(encode_column(values))))
    assert [(type(value), value) for value in back] == [(type(value), value) for value in values]


def test_runs_by_their_folders(root, tmp_path):
    run, other = make_run(root), make_run(tmp_path / "bundle" / "records", SECOND)
    catalogue = read_folders([run, other, run])
    assert sorted(name for name, _, _ in catalogue.runs()) == [FIRST, SECOND]


def test_the_index_names_what_it_knows(root):
    make_run(root)
    read(root)
    assert FIRST in Index(root).known
    assert FIRST not in Index(root, anew=True).known


# ---- Several stores ----


@pytest.fixture
def other(tmp_path):
    return tmp_path / "copies"


def test_a_run_that_was_copied_counts_once(root, other):
    make_run(root)
    make_run(root, SECOND)
    make_run(other, THIRD)
    shutil.copytree(root / FIRST, other / FIRST, copy_function=shutil.copy)
    stores = Stores([Store(root), Store(other), Store(root)])
    assert [run.run_id for run in stores.runs()] == [FIRST, SECOND, THIRD]
    assert sorted(name for name, _, _ in read_stores(stores).runs()) == [FIRST, SECOND, THIRD]
    assert [run.path.parent for run in select_runs(stores, "ranks=1")] == [root, root, other]
    assert [name for name, _, _ in read_stores(stores, last=1).runs()] == [THIRD]


def test_two_runs_of_one_id_are_not_one(root, other):
    make_run(root)
    make_run(other, rate=1001.0)
    with pytest.raises(
        Mistake, match=rf"{root}/{FIRST} and {other}/{FIRST} .*steps-node1.jsonl is not the same"
    ):
        Stores([Store(root), Store(other)]).runs()


def test_what_is_kept_later_is_no_difference(root, other):
    make_run(root)
    shutil.copytree(root / FIRST, other / FIRST)
    (other / FIRST / "slurm-energy.json").write_text("{}")
    assert len(Stores([Store(root), Store(other)]).runs()) == 1
    (other / FIRST / "more.txt").write_text("x")
    with pytest.raises(Mistake, match=r"more\.txt"):
        Stores([Store(root), Store(other)]).runs()


# ---- Finding ----


def tag(run, *tags, name=None):
    job = run.job().model_copy(update={"tags": tags} | ({"name": name} if name else {}))
    publish_record(run.job_path, job)


def found(root, text):
    return [run.run_id for run in Stores([Store(root)]).find_all(text)]


def test_a_tag_or_a_benchmark_selects_all_its_runs(root):
    for run_id, tags in ((FIRST, ("nightly",)), (SECOND, ("nightly", "v2")), (THIRD, ())):
        tag(make_run(root, run_id), *tags)
    assert found(root, "nightly") == [FIRST, SECOND]
    assert found(root, "v2") == [SECOND]
    assert found(root, "scaling") == [FIRST, SECOND, THIRD]
    assert found(root, "benchmark:scaling") == [FIRST, SECOND, THIRD]
    assert found(root, "last") == [THIRD]
    assert found(root, "bbbb") == [SECOND]
    assert found(root, str(root / THIRD)) == [THIRD]
    assert Store(root).find("v2").run_id == SECOND
    with pytest.raises(Mistake, match=r"'nightly' is 2 runs: .*aaaa, .*bbbb"):
        Store(root).find("nightly")
    with pytest.raises(Mistake, match="there is no run 'tag:scaling'"):
        found(root, "tag:scaling")
    with pytest.raises(Mistake, match="'2026112' fits 3 runs"):
        found(root, "2026112")
    assert [row["tags"] for row in read(root)] == ["nightly", "nightly,v2", ""]


def test_a_word_that_is_both_is_asked_about(root):
    tag(make_run(root), "scaling", name="other")
    tag(make_run(root, SECOND))
    with pytest.raises(Mistake, match=r"the tag of 1 runs .*aaaa.* and the benchmark of 1 .*bbbb") as caught:
        found(root, "scaling")
    assert "tag:scaling" in caught.value.do
    assert found(root, "tag:scaling") == [FIRST]
    assert found(root, "benchmark:scaling") == [SECOND]


def test_a_job_id_goes_before_the_beginning_of_an_id(root):
    make_run(root)
    run = make_run(root, SECOND)
    publish_record(
        run.submission_path,
        Submission(slurm_job_id=20261122, host="login1", submitted_utc="2026-11-22T14:12:00Z"),
    )
    assert found(root, "20261122") == [SECOND]
