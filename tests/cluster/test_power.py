"""Power on a real cluster: a sampler on each node beside the ranks, each with GPUs whose power is planted."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from hpcdl.analysis.energy import EnergyResult
from hpcdl.analysis.job import analyse_run
from hpcdl.analysis.meters import read_meter
from hpcdl.records import Missing
from tests.cluster import layout
from tests.cluster.commands import SITE, Person, until
from tests.metering import add_up, find_whole_windows
from tests.nvml.standin import Bursts, Constant, Gpu, Scenario, Sine, build

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from hpcdl.analysis.launch import LaunchResult
    from hpcdl.trace import Trace

pytestmark = [pytest.mark.cluster, pytest.mark.horovod, pytest.mark.timeout(600)]

# Each node has a /tmp of its own, and so GPUs of its own.
SCENARIO = "/tmp/hpcdl-nvml-scenario"
PROFILES = {
    "node1": (Constant(310.0), Sine(250.0, 120.0, 3.1)),
    "node2": (Bursts(90.0, 420.0, 0.03, 0.07),),
    "node3": (Constant(55.0),),
    "node4": (Sine(400.0, 60.0, 0.9), Constant(120.0)),
}
TRAINED = ["--model", "lenet", "--batch", "16", "--steps", "40", "--threads", "1", "--min-window", "6s"]


@pytest.fixture
def person(cluster: ModuleType, shared_dir: Path) -> Person:
    """Somebody whose nodes have a driver: the stand-in, which every step of a job finds."""
    library = build(shared_dir)
    for node, profiles in PROFILES.items():
        gpus = tuple(Gpu(f"GPU-{node}-{place}", profile=profile) for place, profile in enumerate(profiles))
        written = Scenario(gpus).write(shared_dir / f"{node}.scenario")
        cluster.run_on_node(node, ["cp", str(written), SCENARIO])
    somebody = Person.arrive(shared_dir)
    lines = f'HPCDL_NVML_SCENARIO = "{SCENARIO}"\nLD_LIBRARY_PATH = "{library.parent}"\n'
    (shared_dir / "site.toml").write_text(SITE + lines)
    return somebody


def analyse(person: Person) -> LaunchResult:
    [run] = person.store.runs()
    [launch] = analyse_run(run).trainings
    return launch


def test_the_energy_of_all_nodes_is_what_was_planted(person: Person) -> None:
    """Over the whole measured window, which there is also where two cores under four ranks are not steady."""
    person.hpcdl("submit", "--nodes", "4", *TRAINED, "--sensors", "nvml", "--no-validate", "--wait")
    launch = analyse(person)
    assert launch.state == "completed"
    seen, planted = add_up(launch, traces(person), PROFILES)
    assert seen == pytest.approx(planted, rel=0.01)
    if isinstance(launch.energy, EnergyResult):
        figure = launch.energy.at("node")
        assert figure is not None
        assert figure.covers == "6 GPU boards"
        # The ranks computed on CPUs, which nobody was asked to meter: boards alone are not what an image cost.
        assert isinstance(figure.j_per_image, Missing)
        assert "no CPU package is metered" in figure.j_per_image.missing
    else:
        assert "no steady state" in launch.energy.missing


def traces(person: Person) -> tuple[Trace, ...]:
    [run] = person.store.runs()
    return run.launches()[0].traces()


def test_a_sampler_that_is_killed_costs_the_energy_only(person: Person, cluster: ModuleType) -> None:
    child = person.start("submit", "--nodes", "4", *TRAINED, "--no-validate", "--wait")
    until(lambda: sampler_of(cluster, "node2") and trains(person), "the ranks train")
    os.kill(sampler_of(cluster, "node2"), signal.SIGKILL)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    assert "Traceback" not in out + err
    launch = analyse(person)
    assert launch.state == "completed"
    assert {trace.host for trace in traces(person) if trace.closing is None} == {"node2"}
    [dead] = [trace for trace in traces(person) if trace.host == "node2"]
    [window] = [one for one in find_whole_windows(launch) if one.host == "node2"]
    metered = read_meter(dead.series[0], "node2", "?", window.spans(), dead.opening.period_s)
    assert isinstance(metered.energy, Missing), "what was not seen to the end is no energy"
    if isinstance(launch.energy, EnergyResult):
        assert "the sampler on node2 did not end as it should" in launch.energy.findings
        figure = launch.energy.at("node")
        assert figure is not None
        assert isinstance(figure.j_per_image, Missing), "three nodes of four are not the energy of the run"
    assert not leftovers(cluster)


def sampler_of(cluster: ModuleType, node: str) -> int:
    """The process id of a node's sampler; 0 where there is none."""
    found = (pid for pid, argv in cluster.node_processes(node).items() if samples(argv))
    return next(found, 0)


def samples(argv: list[str]) -> bool:
    return "hpcdl.power.sampler" in argv and "srun" not in argv[0]


def leftovers(cluster: ModuleType) -> list[Any]:
    processes = [cluster.node_processes(node).values() for node in layout.NODES]
    return [argv for of_node in processes for argv in of_node if samples(argv)]


def trains(person: Person) -> bool:
    [run] = person.store.runs() or [None]
    return bool(run) and any(path.stat().st_size for path in run.path.glob("*/steps-node1.jsonl"))
