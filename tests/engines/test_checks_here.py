"""Checks of nodes with real ranks of this machine: what is seen, what is found, and that no rank touches another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcdl.acceptance import metrics
from hpcdl.analysis.job import analyse_run
from hpcdl.errors import UnknownName
from hpcdl.plan import NodeCheck, Size, resolve_training
from hpcdl.records import Missing
from hpcdl.store import RunFolder
from tests.check_launches import as_check
from tests.data_requests import NEEDS_DALI
from tests.engines.launching import explain, make_job, run
from tests.photographs import make_tree

if TYPE_CHECKING:
    from hpcdl.checks import Checked, CheckName
    from hpcdl.store import LaunchFolder

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.timeout(300), *NEEDS_DALI]

# Each is read by Python before anything else, in the one rank that it is for.
PLANTED = """
import os

if os.environ.get("HPCDL_LOCAL_RANK") == {rank!r} and "HPCDL_PIPE" in os.environ:
    {what}
"""
WRONG_GRADIENT = """
    import torch

    backward, calls = torch.Tensor.backward, []

    def go_wrong_once(loss, *args, **kwargs):
        backward(loss, *args, **kwargs)
        calls.append(loss)
        if len(calls) == 3:
            found = (t for t in __import__("gc").get_objects() if type(t) is torch.nn.Parameter)
            next(t.grad for t in found if t.grad is not None).mul_(1.5)

    torch.Tensor.backward = go_wrong_once
"""
NO_DALI = """
    import sys

    sys.modules["nvidia.dali.fn"] = None
"""
DYING = """
    import signal
    import torch

    matrix_product = torch.mm

    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    torch.mm = die
"""


def plant(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str, rank: int) -> None:
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(PLANTED.format(rank=str(rank), what=what.strip()))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")


def check_here(store: Path, *checks: CheckName, ranks: int = 2, data_dir: Path | None = None) -> LaunchFolder:
    """A check as an acceptance plans it, run to its end."""
    asked = {"steps": 12, "warmup": 1, "batch": 8}
    job = make_job(store, ranks=(ranks,), launches={"probe": "never"}, engine="auto", **asked)
    alone = Size(nodes=1, tasks_per_node=1, cpus_per_task=1, threads_per_core=1, gpus_per_node=0)
    check = NodeCheck(
        checks=checks,
        trainings=(resolve_training(job.benchmark, alone, engine="single"),),
        repeats=2,
        data_dir=str(data_dir) if data_dir else None,
        soak_s=0.5 if "soak" in checks else None,
    )
    launch = as_check(job.launches[0], check)
    (folder,) = run(job.model_copy(update={"launches": (launch,)}))
    return folder


def pick(folder: LaunchFolder, name: str, rank: int | None = None) -> list[Checked]:
    return [one for one in folder.checks() if one.check == name and rank in {None, one.rank}]


def test_everything_is_looked_at_alone_and_told_by_the_names_that_suites_use(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tiles", classes=2, per_class=20, size=48)
    names: tuple[CheckName, ...] = (
        *("identity", "arithmetic", "matrix", "memory"),
        *("storage", "data", "decode", "train", "health", "soak"),
    )
    folder = check_here(tmp_path, *names, data_dir=tree)
    checks = folder.checks()
    assert {one.outcome for one in checks} == {"looked"}, explain(folder)
    assert {(one.rank, one.check) for one in checks} == {
        *((0, name) for name in names),
        *((1, name) for name in names if name not in {"identity", "storage", "data", "decode"}),
    }
    # Digests of equal hardware are equal, and each rank agrees with itself.
    first, second = pick(folder, "arithmetic")
    assert first.words["digest"] == second.words["digest"]
    assert len(first.words["losses"].split()) == 8
    assert first.numbers["repeatable"] == second.numbers["repeatable"] == 1.0
    # By turns: all that is timed once, before anything is timed again.
    order = [(one.check, one.repeat) for one in checks if one.rank == 0 and one.check != "soak"]
    timed = ["matrix", "memory", "storage", "decode", "train"]
    assert [pair for pair in order if pair[0] in timed] == [(name, n) for n in (1, 2) for name in timed]
    for one in pick(folder, "train"):
        assert one.subject == "lenet"
        assert one.conditions is not None
        assert one.conditions.rank == one.rank
        (stretch,) = one.conditions.stretches
        assert (stretch.begin_s, stretch.end_s) == (one.begin_s, one.end_s)
        assert one.numbers["images_per_s"] == pytest.approx(12 * 8 / stretch.elapsed_s)
    soaked = pick(folder, "soak", 1)
    assert len([one for one in soaked if "images_per_s" in one.numbers]) == 10
    rates = [one.numbers["images_per_s"] for one in soaked if "images_per_s" in one.numbers]
    (drift,) = [one.numbers["drift"] for one in soaked if "drift" in one.numbers]
    assert drift == pytest.approx(rates[-1] / rates[0])
    assert_known_names(checks)
    result = analyse_run(RunFolder(folder.path.parent))
    assert result.completed
    assert result.rehearsal == "2 ranks share one machine"


def assert_known_names(checks: list[Checked]) -> None:
    """Every metric of the worker's is there, and every number is one, but for the course of a soak."""
    told = {
        ".".join(part for part in (one.check, one.subject, word) if part)
        for one in checks
        for word in (*one.numbers, *one.words)
    }
    expected = {
        metric.name.replace("{model}", "lenet")
        for metric in metrics.METRICS.values()
        if metric.test == "node"
    }
    others = {"node.finished", "train.lenet.images_per_j", "train.lenet.power_w", "train.lenet.spread"}
    of_gpus = {metric.name for metric in metrics.METRICS.values() if metric.gpu}
    assert expected - others - of_gpus <= told
    numbers = {(one.check, one.subject, word) for one in checks for word in one.numbers}
    for parts in numbers - {("soak", "lenet", "images_per_s")}:
        try:
            metrics.find(".".join(part for part in parts if part))
        except UnknownName as unknown:
            pytest.fail(str(unknown))


def test_a_wrong_gradient_and_a_damaged_file_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree(tmp_path / "tiles", classes=2, per_class=20, size=48)
    damaged = sorted(tree.rglob("*.jpg"))[7]
    damaged.write_bytes(damaged.read_bytes()[:-200])
    plant(tmp_path / "planted", monkeypatch, WRONG_GRADIENT, rank=1)
    folder = check_here(tmp_path, "arithmetic", "data", data_dir=tree)
    sound, wrong = sorted(pick(folder, "arithmetic"), key=lambda one: one.rank)
    assert (sound.reason, wrong.reason) == ("", "")
    assert sound.words["digest"] != wrong.words["digest"], explain(folder)
    # Once, in the third step: the loss of the fourth is the first that differs, and the second time is right.
    pairs = zip(sound.words["losses"].split(), wrong.words["losses"].split(), strict=True)
    assert [one == other for one, other in pairs][:4] == [True, True, True, False]
    assert (sound.numbers["repeatable"], wrong.numbers["repeatable"]) == (1.0, 0.0)
    (data,) = pick(folder, "data")
    assert data.numbers["unreadable"] == 1
    assert data.words["file"] == f"{damaged}: it is cut off: its end is missing"


def test_what_is_missing_or_dies_is_told_and_touches_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree(tmp_path / "tiles", classes=2, per_class=20, size=48)
    plant(tmp_path / "planted", monkeypatch, NO_DALI, rank=0)
    text = (tmp_path / "planted" / "sitecustomize.py").read_text()
    text += PLANTED.format(rank="1", what=DYING.strip())
    (tmp_path / "planted" / "sitecustomize.py").write_text(text)
    folder = check_here(
        tmp_path, "identity", "storage", "data", "decode", "arithmetic", "matrix", data_dir=tree
    )
    assert [one.outcome for one in folder.exits()] == ["completed", "killed"], explain(folder)
    assert folder.exits()[1].phase == "matrix"
    # What the rank had seen before it died is kept.
    assert [(one.check, one.outcome) for one in folder.checks() if one.rank == 1] == [
        ("arithmetic", "looked")
    ]
    outcomes = {one.check: one for one in folder.checks() if one.rank == 0}
    assert {name for name, one in outcomes.items() if one.outcome == "could not look"} == {"data", "decode"}
    for name in ("data", "decode"):
        assert "NVIDIA DALI" in outcomes[name].reason
        assert not outcomes[name].numbers
    assert not isinstance(outcomes["matrix"].numbers["flops_per_s"], Missing)
    (launch,) = analyse_run(RunFolder(folder.path.parent)).launches
    assert launch.state == "failed"
    assert launch.story.startswith("rank 1 (")
