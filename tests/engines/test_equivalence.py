"""The same training, however many ranks share it and however their gradients meet."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.data_requests import NEEDS_DALI
from tests.engines.launching import EXCHANGES, explain, make_job, run

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.store import LaunchFolder

pytestmark = [*NEEDS_DALI, pytest.mark.timeout(600)]
STEPS = 10
TRAIN = {
    "data": "digits",
    "global_batch": 64,
    "steps": STEPS,
    "augment": False,
    "dropout": False,
    "validate_after": False,
}

# Loaded by every Python that sees it on PYTHONPATH: rank 1 keeps its own gradients.
PLANTED = """
import os, sys
rank = os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("HPCDL_RANK"))
if rank == "1" and "hpcdl.worker.rank" in sys.orig_argv:
    from hpcdl.worker.engine import ddp, horovod

    def plant(engine):
        attach, synchronize = engine.attach, engine.synchronize
        own = {}

        def attach_and_remember(self, model):
            for parameter in model.parameters():
                parameter.register_hook(lambda g, p=parameter: own.__setitem__(p, g.clone()))
            return attach(self, model)

        def restore(self):
            synchronize(self)
            for parameter, gradient in own.items():
                parameter.grad.copy_(gradient)

        engine.attach, engine.synchronize = attach_and_remember, restore

    plant(ddp.DDP)
    plant(horovod.Horovod)
"""


def losses(folder: LaunchFolder, ranks: int) -> list[float]:
    """The loss of each step: the mean over the ranks, whose batches are equally large."""
    assert [end.outcome for end in folder.exits()] == ["completed"] * ranks, explain(folder)
    steps = folder.steps()
    assert set(steps.rank.tolist()) == set(range(ranks))
    return [fmean(steps.between(number, number + 1).loss.tolist()) for number in range(STEPS)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one rank that exchanges nothing."""
    (folder,) = run(make_job(tmp_path_factory.mktemp("alone"), engine="single", **TRAIN))
    return losses(folder, 1)


def test_the_losses_tell_one_step_from_the_next(alone: list[float]) -> None:
    """Else comparing them would show nothing."""
    assert len({round(loss, 3) for loss in alone}) == STEPS


@pytest.mark.parametrize(("engine", "transport"), EXCHANGES)
def test_four_ranks_train_as_one(tmp_path: Path, alone: list[float], engine: str, transport: str) -> None:
    folders = run(make_job(tmp_path, ranks=(1, 4), engine=engine, transport=transport, **TRAIN))
    for folder, ranks in zip(folders, (1, 4), strict=True):
        np.testing.assert_allclose(losses(folder, ranks), alone, rtol=1e-4)
        environment = folder.environment()
        assert environment is not None
        assert (environment.engine, environment.transport) == (engine, transport)
        assert environment.world_size == ranks


@pytest.mark.parametrize(("engine", "transport"), EXCHANGES)
def test_a_rank_that_does_not_average_is_noticed(
    tmp_path: Path, alone: list[float], engine: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    (folder,) = run(make_job(tmp_path, ranks=(2,), engine=engine, transport=transport, **TRAIN))
    seen = losses(folder, 2)
    np.testing.assert_allclose(seen[0], alone[0], rtol=1e-4)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        np.testing.assert_allclose(seen, alone, rtol=1e-4)
