"""Launches on real ranks of this machine that measure in other ways: precision, attribution, engines by turns."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.pace import Pace
from hpcdl.analysis.readings import Withheld
from hpcdl.records import Missing
from hpcdl.store import RunFolder
from tests.engines.launching import explain, make_job, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


def test_a_launch_goes_on_until_its_limit_where_the_precision_is_out_of_reach(tmp_path: Path) -> None:
    asked = {
        "engine": "ddp",
        "transport": "gloo",
        "steps": 30,
        "precision": 0.0001,
        "max_steps": 100,
        "batch": 8,
    }
    (folder,) = run(make_job(tmp_path, ranks=(2,), **asked))
    summary = folder.summary()
    assert summary is not None, explain(folder)
    stretches = summary.window.stretches
    assert [(one.first_step, one.steps) for one in stretches] == [(0, 30), (30, 30), (60, 40)]
    assert all(one.end_s <= other.begin_s for one, other in pairwise(stretches))
    assert summary.window.images == 100 * 16
    [launch] = analyse_run(RunFolder(folder.path.parent)).launches
    assert isinstance(launch.pace, Pace)
    assert len(launch.pace.periods_s) == 100
    # Periods add up to what passed between the barriers, without the pauses.
    assert launch.pace.periods_s.sum() == pytest.approx(summary.window.elapsed_s)


def test_ranks_that_do_not_exchange_drift_apart(tmp_path: Path) -> None:
    """An attribution's launches: the same training without the exchange has other losses on each rank."""
    asked = {"engine": "ddp", "transport": "gloo", "steps": 30, "batch": 8}
    shape = {"attribution": True, "probe": "never"}
    full, alone = run(make_job(tmp_path, ranks=(2,), launches=shape, **asked))
    result = analyse_run(RunFolder(full.path.parent))
    assert [launch.plan.variant for launch in result.launches] == ["full", "no exchange"], explain(full)
    assert result.completed, explain(alone)
    assert len(result.launches[1].pace.periods_s) == 30  # type: ignore[union-attr]
    # What a rank waits for others where there is no exchange: nothing; others' work may have it withheld.
    share = result.launches[1].statistics.exchange_share
    measured = share.value if isinstance(share, Withheld) else share
    assert not isinstance(measured, Missing)
    assert measured < 0.05


def test_conditions_of_every_rank_are_recorded(tmp_path: Path) -> None:
    (folder,) = run(make_job(tmp_path, ranks=(2,), engine="ddp", transport="gloo"))
    summary = folder.summary()
    assert summary is not None, explain(folder)
    first, second = summary.conditions
    assert (first.rank, second.rank) == (0, 1)
    assert not isinstance(first.foreign_cores, Missing)
    assert isinstance(second.foreign_cores, Missing), "one rank of a host looks for all"
    assert len(first.matrix_flops_per_s) == len(second.matrix_flops_per_s) == 2
    assert min(first.process_cpu_s, second.process_cpu_s) > 0
    # So is how the host is wired, once, and what each rank did about its cores.
    [node] = folder.topologies()
    environment = folder.environment()
    assert environment is not None
    assert {host.host for host in environment.hosts} == {node.host}
    assert all(host.binding is not None for host in environment.hosts)


@pytest.mark.horovod
def test_two_engines_take_turns_in_one_job(tmp_path: Path) -> None:
    shape = {"engines": ("horovod", "ddp"), "repeat": 2}
    folders = run(make_job(tmp_path, ranks=(2,), launches=shape, transport="gloo"))
    found = [folder.environment().engine for folder in folders if folder.environment()]  # type: ignore[union-attr]
    assert found == ["horovod", "ddp", "ddp", "horovod"], explain(folders[0])
