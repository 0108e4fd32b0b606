"""What a rank of a check looks at: each by itself, meeting no other and waiting for none.

A new check is a module with a function of `CHECKS`' kind, one line there, and its name in `hpcdl.checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcdl.errors import Refused
from hpcdl.worker.binding import choose_device, prepare
from hpcdl.worker.check import (
    arithmetic,
    data,
    decode,
    health,
    identity,
    matrix,
    memory,
    soak,
    storage,
    topology,
    train,
)
from hpcdl.worker.check.post import Post, Pulse
from hpcdl.worker.check.turns import Looks, Turn, take

if TYPE_CHECKING:
    from hpcdl.checks import CheckName
    from hpcdl.plan import Launch, NodeCheck, Training
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.beacon import Beacon
    from hpcdl.worker.place import Place
    from hpcdl.worker.reporter import Reporter

CHECKS: dict[CheckName, Looks] = {
    "identity": identity.look,
    "topology": topology.look,
    "arithmetic": arithmetic.look,
    "matrix": matrix.look,
    "memory": memory.look,
    "storage": storage.look,
    "data": data.look,
    "decode": decode.look,
    "train": train.look,
    "health": health.look,
    "soak": soak.look,
}
# Of the node, not of a device: the first rank of the node looks for all.
NODE_WIDE: frozenset[CheckName] = frozenset({"identity", "topology", "storage", "data", "decode"})
# Once for each of the networks.
OF_NETWORKS: frozenset[CheckName] = frozenset({"arithmetic", "train"})
TIMED: frozenset[CheckName] = frozenset({"matrix", "memory", "storage", "decode", "train"})


def look(launch: Launch, place: Place, folder: LaunchFolder, reporter: Reporter, beacon: Beacon) -> None:
    """Everything that is planned, in its order; what is timed goes on by turns until it was timed often enough.

    What cannot be looked at is told, with the reason, and the rest goes on.

    Raises:
        Refused: The device that was planned is not there; what needs none was looked at all the same.
        ValueError: The launch is no check.
    """
    check = launch.check
    if check is None:
        raise ValueError(f"launch {launch.name} has no check")
    pulse = Pulse(beacon)
    refusal, device = None, None
    try:
        device = choose_device(launch, place)
    except Refused as refused:
        refusal = refused
    prepare(launch, place)
    post = Post(launch, check, place, folder, device, reporter, pulse, refusal=str(refusal or ""))
    with health.watching(post):
        _look_by_turns(post)
        _look_once(post, "health", repeat=1)
    if "soak" in check.checks:
        with health.watching(post):
            _look_once(post, "soak", repeat=1)
            # What the long run did to the hardware, beside what the short looks did.
            _look_once(post, "health", repeat=2)
    pulse.enter("end")
    if refusal is not None:
        raise refusal


def _look_by_turns(post: Post) -> None:
    """Drift over the launch touches all alike: no check is timed at one end of it only."""
    turns = [
        turn for name in post.check.checks if name not in {"health", "soak"} for turn in _plan(post, name)
    ]
    for repeat in range(1, post.check.repeats + 1):
        for turn in turns:
            if repeat == 1 or turn.timed:
                take(post, turn, repeat)
    for turn in turns:
        turn.close()


def _look_once(post: Post, name: CheckName, *, repeat: int) -> None:
    if name in post.check.checks:
        for turn in _plan(post, name):
            take(post, turn, repeat)
            turn.close()


def _plan(post: Post, name: CheckName) -> list[Turn]:
    """The turns of one check on this rank."""
    if name in NODE_WIDE and post.place.local_rank != 0:
        return []
    return [
        Turn(name, CHECKS[name], training, timed=name in TIMED, node_wide=name in NODE_WIDE)
        for training in _choose_trainings(post.check, name)
    ]


def _choose_trainings(check: NodeCheck, name: CheckName) -> tuple[Training | None, ...]:
    return check.trainings if name in OF_NETWORKS else (None,)
