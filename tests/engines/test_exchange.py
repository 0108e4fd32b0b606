"""What an engine does besides training: gather, sum, broadcast, wait for one another, and average gradients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpcdl.store import lay_out
from hpcdl.worker.engine.horovod import contiguous_view
from hpcdl.worker.engine.texts import to_bytes, to_texts
from tests.engines.launching import EXCHANGES, begin_ranks, make_job
from tests.engines.rank_program import TEXTS

if TYPE_CHECKING:
    from pathlib import Path

    from hpcdl.store import LaunchFolder

pytestmark = pytest.mark.timeout(300)
RANKS = 2


def begin(store: Path, **train: Any) -> tuple[LaunchFolder, list[Any]]:
    (folder,) = lay_out(make_job(store, ranks=(RANKS,), **train), script=None).launches()
    return folder, begin_ranks(folder)


def results(folder: LaunchFolder, children: list[Any]) -> list[dict[str, Any]]:
    """What the ranks wrote down, by rank, once they have left in good order."""
    assert [child.wait(240) for child in children] == [0] * len(children), folder.output_path.read_text()
    return [json.loads((folder.path / f"rank-{rank}.json").read_text()) for rank in range(RANKS)]


@pytest.mark.parametrize(("engine", "transport"), EXCHANGES)
def test_two_ranks_exchange(tmp_path: Path, engine: str, transport: str) -> None:
    folder, children = begin(tmp_path, engine=engine, transport=transport)
    got = results(folder, children)
    assert [(one["rank"], one["world_size"], one["transport"]) for one in got] == [
        (rank, RANKS, transport) for rank in range(RANKS)
    ]
    for one in got:
        assert one["texts"] == list(TEXTS[:RANKS])
        assert one["no_texts"] == ["", ""]
        assert one["sum"] == [1.0, 2.0**53, 2e-10 / 3]
        # 1 + 2, and the first of them summed once more over two ranks.
        assert one["exchange"] == [[6.0, 6.0], [3.0, 3.0], [3.0, 3.0]]
        assert one["broadcast"] == got[0]["broadcast"]
        assert one["barrier"] is True
        _check_gradients(one["gradients"]["averaged"], [other["gradients"]["own"] for other in got])
    assert got[0]["broadcast"][0][:3] == [0.0, 1.0, 2.0]
    assert got[0]["broadcast"][2] == [7.0]
    # Nothing but what goes wrong is worth a line in the log.
    assert folder.output_path.read_text() == ""


def _check_gradients(averaged: list[list[float]], own: list[list[list[float]]]) -> None:
    assert own[0] != own[1]
    for mean, first, second in zip(averaged, *own, strict=True):
        np.testing.assert_allclose(mean, (np.array(first) + np.array(second)) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("engine", "transport"), EXCHANGES)
def test_two_launches_at_once_do_not_mix(tmp_path: Path, engine: str, transport: str) -> None:
    both = [begin(tmp_path / name, engine=engine, transport=transport) for name in ("one", "other")]
    for folder, children in both:
        for one in results(folder, children):
            assert one["run"] == [str(folder.path)] * RANKS


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_texts_survive_as_bytes(texts: list[str]) -> None:
    parts = [to_bytes(text) for text in texts]
    assert to_texts(torch.cat(parts), [part.numel() for part in parts]) == texts


@given(st.permutations([0, 1, 2, 3]), st.lists(st.integers(1, 3), min_size=4, max_size=4))
def test_any_dense_layout_has_a_contiguous_view(order: list[int], shape: list[int]) -> None:
    tensor = torch.arange(float(np.prod(shape))).reshape(shape).permute(order)
    view = contiguous_view(tensor)
    assert view.is_contiguous()
    assert view.data_ptr() == tensor.data_ptr()
    view.add_(1)
    assert float(tensor.min()) == 1.0


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(4, 6)[:, ::2], torch.zeros(4, 6)[:, :3], torch.zeros(3, 1).expand(3, 4)],
    ids=["every other column", "half the columns", "one column seen four times"],
)
def test_a_layout_with_gaps_is_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="leave gaps"):
        contiguous_view(tensor)
