"""An acceptance of the test cluster, short enough to be repeated, and what may be wrong with one of its nodes."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.cluster import layout, planting, slurm_cluster
from tests.nvml.standin import Gpu, Scenario, build
from tests.photographs import make_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.cluster.commands import Person

HEAD = """
name = "short"
about = "Every node of the test cluster, in seconds"

[policy]
reruns = 0
confirm = false

[tests.node]
checks = {checks}
models = ["lenet"]
batch = 64
steps = 10
warmup = 2
repeats = 8
threads = 1
device = "cpu"
data_dir = "{data}"
"""
CHECKS = ("identity", "arithmetic", "data", "train", "health")
# Name -> metric, and where the line is.
CRITERIA = {
    "finished": ("node.finished", "at_least = 1"),
    "same-cores": ("identity.cores_visible", 'equals = "fleet"'),
    "same-kernel": ("identity.kernel", 'equals = "fleet"'),
    "same-software": ("identity.versions", 'equals = "fleet"'),
    "same-arithmetic": ("arithmetic.lenet.digest", 'equals = "fleet"'),
    "lenet-speed": ("train.lenet.images_per_s", 'at_least = "{speed}"\nof = "fleet"'),
    "readable-data": ("data.unreadable", "at_most = 0"),
    "same-data": ("data.digest", 'equals = "fleet"'),
    "no-throttling": ("health.throttled_s", 'at_most = "0.5 s"\nwhere_present = true'),
    "link-speed": ("link.bandwidth_bytes_per_s", 'at_least = "{speed}"\nof = "fleet"'),
}
# Nodes that share two cores scatter far more than nodes do that have their own. Where no node is slow, a test asks
# for next to nothing: what else the machine was doing is not the test's to judge (the campaign counts that).
ANY_SPEED = "5 %"
SPEED = {"lenet-speed": "65 %", "link-speed": "50 %"}
LINKS = """
[tests.links]
model = "lenet"
"""
# Each node has a /tmp of its own, and so GPUs of its own. What throttles one: 0x40 is HwThermalSlowdown (nvml.h).
THERMAL = 0x40
SCENARIO = "/tmp/hpcdl-nvml-scenario"


@dataclass(frozen=True)
class Fault:
    """Something planted in one node: by what it is told, and with which word the culprit is explained.

    `plant` gives what the jobs' environment has to hold for it. `outcome` is that of the node's decision.
    """

    plant: Callable[[str, Path], AbstractContextManager[Mapping[str, str]]]
    criterion: str
    clue: str = ""
    outcome: str = "fail"
    checks: tuple[str, ...] = CHECKS
    links: bool = False


@contextlib.contextmanager
def _quietly(context: AbstractContextManager[None]) -> Iterator[Mapping[str, str]]:
    with context:
        yield {}


@contextlib.contextmanager
def _corrupt(node: str, home: Path) -> Iterator[Mapping[str, str]]:
    name = data_name(home)
    victim = slurm_cluster.run_on_node(node, ["sh", "-c", f"ls /tmp/{name}/train/*/*.jpg | head -1"]).strip()
    slurm_cluster.run_on_node(node, ["truncate", "--size=200", victim])
    yield {}


@contextlib.contextmanager
def _wrong_gradient(node: str, home: Path) -> Iterator[Mapping[str, str]]:
    yield {"PYTHONPATH": str(planting.wrong_gradient(node, home))}


@contextlib.contextmanager
def _throttled(node: str, home: Path) -> Iterator[Mapping[str, str]]:
    """Each node has a GPU by the stand-in; that of one is too hot, and says so."""
    library = build(home)
    for one in layout.NODES:
        hot = {"temperature_c": 93, "reasons": THERMAL, "throttled_share": 0.5} if one == node else {}
        written = Scenario((Gpu(f"GPU-{one}", **hot),)).write(home / f"{one}.scenario")
        slurm_cluster.run_on_node(one, ["cp", str(written), SCENARIO])
    try:
        yield {"HPCDL_NVML_SCENARIO": SCENARIO, "LD_LIBRARY_PATH": str(library.parent)}
    finally:
        for one in layout.NODES:
            slurm_cluster.run_on_node(one, ["rm", "-f", SCENARIO])


FAULTS: dict[str, Fault] = {
    # On a fifth of a core everything takes five times as long: only what tells is run there.
    "cpu-quota": Fault(
        lambda node, _: _quietly(planting.cpu_quota(node)),
        "lenet-speed",
        "CPU quota 0.2 of a core; the fleet has none",
        checks=("identity", "train"),
    ),
    "slow-link": Fault(
        lambda node, _: _quietly(planting.slow_link(node)), "link-speed", checks=("identity",), links=True
    ),
    "other-library": Fault(
        lambda node, home: _quietly(planting.other_library(node, home)),
        "same-software",
        "torch",
        checks=("identity",),
    ),
    "fewer-cores": Fault(
        lambda node, _: _quietly(planting.fewer_cores(node)),
        "same-cores",
        "1 visible hardware thread where the fleet has 2",
        checks=("identity",),
    ),
    "corrupt-file": Fault(_corrupt, "readable-data", ".jpg", checks=("identity", "data")),
    "wrong-gradient": Fault(_wrong_gradient, "same-arithmetic", checks=("identity", "arithmetic")),
    "throttled": Fault(_throttled, "no-throttling", "heat", checks=("identity", "train", "health")),
    "missing-tool": Fault(
        lambda node, home: _quietly(planting.missing_dali(node, home)),
        "readable-data",
        outcome="insufficient",
        checks=("identity", "data"),
    ),
}


def data_name(home: Path) -> str:
    """The folder of an acceptance's images below each node's own /tmp."""
    return f"hpcdl-{home.name}"


def write_suite(
    home: Path, *, checks: Sequence[str] = CHECKS, links: bool = False, slow: bool = False
) -> Path:
    """The short suite, or the part of it that makes these checks, and images on each node's own disk.

    `slow` asks it to tell slow nodes and links from the others.
    """
    tree = make_tree(home / "images", classes=2, per_class=8, size=64)
    head = HEAD.format(data=planting.own_data(tree, data_name(home)), checks=json.dumps(list(checks)))
    made = {"node", *checks, *(["link"] if links else [])}
    asked = [
        f'\n[[criteria]]\nname = "{name}"\nmetric = "{metric}"\n'
        + line.format(speed=SPEED.get(name) if slow else ANY_SPEED)
        + "\n"
        for name, (metric, line) in CRITERIA.items()
        if metric.split(".")[0] in made
    ]
    path = home / "short.toml"
    path.write_text("".join([head, LINKS if links else "", *asked]), encoding="utf-8")
    return path


def accept(person: Person, suite: Path, *flags: str, code: int, nodes: int = 4) -> dict[str, Any]:
    """The verdict of an acceptance, as programs get it; the command must leave with `code`."""
    argv = ("accept", "run", str(suite), "--nodes", str(nodes), *flags, "--json")
    verdict: dict[str, Any] = json.loads(person.hpcdl(*argv, code=code).stdout)
    return verdict


def add_environment(person: Person, variables: Mapping[str, str]) -> None:
    """Variables that every job of this person has: the last table of the site file holds them."""
    site = person.home / "site.toml"
    text = site.read_text(encoding="utf-8")
    for name, value in variables.items():
        present = f'{name} = "'
        if present in text:
            text = text.replace(present, f"{present}{value}{os.pathsep}")
        else:
            text += f'{name} = "{value}"\n'
    site.write_text(text, encoding="utf-8")


def decisions(verdict: Mapping[str, Any], criterion: str) -> dict[str, dict[str, Any]]:
    """Unit -> what was decided of it."""
    [requirement] = [one for one in verdict["requirements"] if one["criterion"] == criterion]
    return {one["unit"]: one for one in requirement["decisions"]}


def check_fault(
    verdict: Mapping[str, Any], fault: Fault, node: str, others: AbstractSet[str] = frozenset()
) -> None:
    """The node is the one that is told of, by that criterion, and no other but `others`, with faults of their own."""
    told = decisions(verdict, fault.criterion)
    guilty = {unit for unit, one in told.items() if one["outcome"] == fault.outcome}
    if fault.links:
        assert guilty, f"no link is slow: {told}"
        assert all(node in told[unit]["nodes"] for unit in guilty), f"{node} was slow, and {guilty} are told"
    else:
        assert {name for unit in guilty for name in told[unit]["nodes"]} == {node}, (
            f"{fault.criterion}: {told}"
        )
    if fault.outcome != "fail":
        return
    named = {one["unit"].split("/")[0]: one for one in verdict["culprits"]}
    assert node in named, f"{node} is not named: {verdict['culprits']}"
    assert set(named) - others == {node}, f"{node} is at fault, and named are {verdict['culprits']}"
    words = " ".join([named[node]["symptom"], *named[node]["clues"]])
    assert fault.clue in words, f"{fault.clue!r} is not among {words!r}"


def find_folder(person: Person) -> Path:
    """The folder of this person's newest acceptance."""
    return max((person.store.root / "acceptances").iterdir())


def await_checks(person: Person, node: str, timeout_s: float = 120) -> None:
    """Wait until the node has looked at something."""
    deadline = time.monotonic() + timeout_s
    root = person.store.root / "acceptances"
    while not any(path.stat().st_size for path in root.glob(f"*/runs/*/*/checks-{node}.jsonl")):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for the first check of {node}"
        time.sleep(0.2)
