"""Every record, cut at every byte: it is read, or left out, counted and shown. Nothing raises, nothing is guessed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hpcdl import report
from hpcdl.acceptance.concluding import conclude
from hpcdl.acceptance.folder import NodeState
from hpcdl.analysis.ending import JobState
from hpcdl.analysis.job import analyse_run
from hpcdl.baseline import Baseline, HostIdle
from hpcdl.baseline import read as read_baseline
from hpcdl.datasets.manifest import Manifest, PartManifest, read_manifest
from hpcdl.durable import publish, publish_record
from hpcdl.errors import HpcdlError, Mistake
from hpcdl.metering import SlurmEnergy, Source, StepEnergy
from hpcdl.report import formats
from hpcdl.store import LaunchFolder
from tests.unit.acceptances_maker import write_acceptance
from tests.unit.checks_maker import make_look, write_acceptance_run, write_exits, write_looks, write_probe
from tests.unit.records_maker import Recording, cancel, make_conditions, record, write_run, write_trace

ENDED = JobState(over=True, words="COMPLETED")
PACKAGE = Source(name="rapl:0", sensor="rapl", covers="package", counter=True)


def positions(size, most=20_000):
    """Every length below the whole; of a large file, so many at least that are spread over it."""
    return range(0, size, max(1, -(-size // most)))


def cut_everywhere(path, most=20_000):
    """The file at each shorter length, one after another; whole again at the end."""
    whole = path.read_bytes()
    for length in positions(len(whole), most):
        path.write_bytes(whole[:length])
        yield whole[:length]
    path.write_bytes(whole)


@pytest.fixture
def training(tmp_path):
    """A run of one launch on two nodes, with everything that a training run can leave behind."""
    run = write_run(tmp_path / "runs", nodes=[2], model="lenet", batch=4, steps=4, warmup=1, power=True)
    folder = record(run, 1, Recording(conditions=(make_conditions(0), make_conditions(1))))
    for host in ("node1", "node2"):
        looks = {PACKAGE: lambda at_s: {"power_w": 90.0, "energy_j": 90.0 * at_s}}
        write_trace(folder, host, looks, begin_s=99.0, end_s=101.0)
    cancel(run)
    energy = SlurmEnergy(steps=(StepEnergy(step=0, energy_j=100.0, elapsed_s=2.0),))
    publish_record(run.slurm_energy_path, energy)
    return run, folder


SINGLE = ("environment.json", "summary.json")
STREAMS = ("steps-node1.jsonl", "exit-node2.jsonl", "power-node1.jsonl")


@pytest.mark.parametrize("name", SINGLE)
def test_a_record_of_a_launch_that_is_cut_is_left_out_counted_and_shown(training, name):
    run, folder = training
    path = folder.path / name
    whole = path.read_bytes().rstrip()
    for kept in cut_everywhere(path):
        # With its steps, an analysis takes long: now and then.
        result = analyse_run(run, ENDED, with_steps=len(kept) % 29 == 0)
        torn = [one.path.name for one in result.launches[0].torn]
        assert torn == ([] if len(kept) >= len(whole) else [name]), len(kept)
        assert not torn or any(f"the first: {name}" in finding for finding in result.findings)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_is_cut_loses_the_line_that_was_cut_and_no_other(training, name):
    run, folder = training
    path = folder.path / name
    whole = path.read_bytes()
    ends = {0} | {place for place, byte in enumerate(whole) if byte == ord("\n")}
    # A line without its end, but whole, is read.
    ends |= {place + 1 for place in ends if place}
    for kept in cut_everywhere(path, most=500):
        result = analyse_run(run, ENDED)
        torn = [(one.path.name, one.line) for one in result.launches[0].torn]
        assert torn == ([] if len(kept) in ends else [(name, kept.count(b"\n") + 1)]), len(kept)


@pytest.mark.parametrize("name", ["submission.json", "cancelled.json", "slurm-energy.json"])
def test_a_record_of_the_run_that_is_cut_is_shown_too(training, name):
    run, _ = training
    path = run.path / name
    whole = path.read_bytes().rstrip()
    for kept in cut_everywhere(path):
        result = analyse_run(run, ENDED, with_steps=False)
        assert [one.path.name for one in result.torn] == ([] if len(kept) >= len(whole) else [name])
        assert not result.torn or result.findings[0].endswith(f"the first: {name}")
        # A word that asked for the end is one, however little of it could be written.
        assert result.cancelled


def test_a_job_that_is_cut_is_a_mistake_that_names_the_file(training):
    run, _ = training
    whole = run.job_path.read_bytes().rstrip()
    for kept in cut_everywhere(run.job_path):
        if len(kept) < len(whole):
            with pytest.raises(Mistake, match=r"job\.json: this record cannot be read"):
                analyse_run(run, ENDED, with_steps=False)


def test_a_plan_that_is_cut_costs_the_report_nothing(training):
    run, folder = training
    before = report.build([analyse_run(run, ENDED)])
    for _ in cut_everywhere(folder.plan_path, most=300):
        assert report.build([analyse_run(run, ENDED)]) == before
    folder.plan_path.write_bytes(folder.plan_path.read_bytes()[:70])
    with pytest.raises(Mistake, match=r"plan\.json: this record cannot be read"):
        folder.plan()


def test_what_was_left_out_stands_in_every_format(training):
    run, folder = training
    folder.summary_path.write_bytes(folder.summary_path.read_bytes()[:-20])
    told = report.build([analyse_run(run, ENDED)])
    for name in ("markdown", "json", "html"):
        assert "could not be read and left out; the first: summary.json" in str(formats.render(told, name))


def test_a_probe_that_is_cut_is_left_out_and_counted(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=2, tests=("links",))
    folder = write_probe(run, "links", bandwidths={(0, 1): 1e9})
    whole = folder.probe_path.read_bytes().rstrip()
    for kept in cut_everywhere(folder.probe_path):
        torn = [one.path.name for one in analyse_run(run, ENDED).launches[0].torn]
        assert torn == ([] if len(kept) >= len(whole) else ["probe.json"])


def test_what_checks_looked_at_is_read_up_to_the_cut(tmp_path):
    run = write_acceptance_run(tmp_path, nodes=1, tests=("node",), checks=("identity", "memory"))
    folder = write_looks(run, [make_look("identity"), make_look("memory", repeat=1)])
    write_exits(run, {("node1", 0): {}})
    path = folder.checks_path("node1")
    first = path.read_bytes().index(b"\n")
    size = path.stat().st_size
    for kept in cut_everywhere(path):
        torn: list = []
        looks = LaunchFolder(folder.path).checks(torn)
        assert len(looks) == (len(kept) >= first) + (len(kept) >= size - 1)
        assert len(looks) + len(torn) == len(kept.splitlines())
        analyse_run(run, ENDED)


@pytest.mark.parametrize("name", ["acceptance.json", "fleet.jsonl", "states.jsonl"])
def test_an_acceptance_that_is_cut_is_judged_by_the_rest_or_named(tmp_path, name):
    folder = write_acceptance(tmp_path, nodes=2)
    seen = datetime(2026, 12, 1, 8, tzinfo=UTC)
    folder.add(folder.states_path, [NodeState(node=f"node{n}", state="idle", seen_utc=seen) for n in (1, 2)])
    path = folder.path / name
    for kept in cut_everywhere(path, most=60):
        try:
            found = conclude(folder, final=True)
        except HpcdlError as problem:
            assert name in str(problem) or name == "fleet.jsonl", problem  # noqa: PT017 (each length, not each raise)
        else:
            assert name != "acceptance.json" or len(kept) >= len(path.read_bytes().rstrip())
            assert found.verdict.outcome != "pass" or name == "states.jsonl", len(kept)


def test_a_description_of_a_data_set_that_is_cut_is_a_mistake(tmp_path):
    part = PartManifest(samples=4, digest="ab" * 32)
    manifest = Manifest(
        format="raw", encoded=False, shape=(8, 8, 3), classes=("a", "b"), parts={"train": part}
    )
    publish_record(tmp_path / "dataset.json", manifest)
    size = len((tmp_path / "dataset.json").read_bytes().rstrip())
    for kept in cut_everywhere(tmp_path / "dataset.json"):
        if len(kept) < size:
            with pytest.raises(Mistake, match=r"dataset\.json"):
                read_manifest(tmp_path)
    assert read_manifest(tmp_path) == manifest


def test_an_idle_baseline_that_is_cut_is_a_mistake(tmp_path):
    idle = HostIdle(measured_utc=datetime(2026, 12, 1, tzinfo=UTC), seconds=30.0, idle_w={"rapl:0": 41.5})
    path = tmp_path / "idle.json"
    publish(path, Baseline(hosts={"node1": idle}).model_dump_json())
    size = path.stat().st_size
    for kept in cut_everywhere(path):
        if len(kept) < size:
            with pytest.raises(Mistake, match=r"idle\.json"):
                read_baseline(path)
