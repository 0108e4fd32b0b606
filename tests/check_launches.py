"""Launches of checks, as an acceptance plans them, and what they leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcdl.checks import Checked

if TYPE_CHECKING:
    from hpcdl.plan import Launch, NodeCheck


def as_check(launch: Launch, check: NodeCheck) -> Launch:
    """A check in the place of a launch that trains: its ranks meet nobody, and so need no PMI."""
    pmi = None if launch.pmi is None else "none"
    train = check.trainings[0] if check.trainings else launch.train
    changes = {"kind": "check", "test": "node", "pmi": pmi, "train": train, "check": check}
    return launch.model_copy(update=changes)


def make_checked(rank: int = 0, host: str = "node1", **changes: Any) -> Checked:
    """A look at what a node is, unless it is said otherwise."""
    usual: dict[str, Any] = {
        "check": "identity",
        "local_rank": 0,
        "outcome": "looked",
        "words": {"cpu": "AMD EPYC 9534 64-Core Processor", "boot_id": f"{host}-boot-id"},
        "numbers": {"cores_visible": 8.0},
        "begin_s": 100.0,
        "end_s": 101.0,
    }
    return Checked(rank=rank, host=host, **usual | changes)
