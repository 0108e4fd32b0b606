"""Point to point: latency and bandwidth of every pair, all pairs of a round at once."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch.distributed as dist

from hpcdl.estimates.links import find_slow_links
from hpcdl.probes import Pair, PairTable
from hpcdl.records import Missing
from hpcdl.worker.probe.allreduce import Assembly
from hpcdl.worker.probe.group import enter_group
from hpcdl.worker.probe.mpi import World
from hpcdl.worker.probe.tournament import arrange_rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hpcdl.records import Host
    from hpcdl.worker.joining import Rank

SMALL_BYTES = 8
# Where a large message takes no longer than FAST_S, the next larger one tells more.
LARGE_BYTES = (1 << 20, 1 << 24, 1 << 28)
FAST_S = 0.005
# Half round trips to take the best of: a small message costs nothing, a large one may be slow.
SMALL_TURNS, LARGE_TURNS = 100, 6
# All pairs meet twice, those that look slow twice more, and the best counts: what disturbs a pair once is weather.
PASSES, MORE_PASSES = 2, 2
# A pair stops repeating a message after so long.
BOUND_S = 1.0
OVER = 0


_Seen = tuple[float, float]  # seconds, bytes/s


class Messenger(Assembly, Protocol):
    """Point to point between the ranks of a launch, each addressed by its number. `over` is the transport."""

    @property
    def over(self) -> Literal["mpi", "nccl", "gloo"]: ...

    def make(self, size_bytes: int) -> Any:
        """A message of so many bytes."""

    def send(self, message: Any, other: int) -> None:
        """Give a message to another rank that receives it."""

    def receive(self, message: Any, other: int) -> None:
        """Return when the message is there."""

    def tell(self, number: int, other: int) -> None:
        """Give a number to another rank that hears it."""

    def hear(self, other: int) -> int:
        """The number that another rank tells."""

    def leave(self) -> None:
        """End it, in good order."""


def open_messengers(rank: Rank, hosts: Sequence[Host], world: World | Missing) -> list[Messenger]:
    """MPI where it was started, NCCL where there are GPUs; Gloo where there is neither but more than one node."""
    players = choose_players(hosts)
    messengers: list[Messenger] = [world] if isinstance(world, World) else []
    if len(players) < 2:
        return messengers
    # NCCL does not connect a GPU with itself.
    if rank.device.type == "cuda" and dist.is_nccl_available() and _have_own_gpus(hosts, players):
        messengers.append(enter_group(rank, "nccl"))
    elif not messengers:
        messengers.append(enter_group(rank, "gloo"))
    return messengers


def measure_links(
    rank: Rank, hosts: Sequence[Host], messengers: Sequence[Messenger]
) -> tuple[PairTable, ...] | Missing:
    """Every pair of nodes, one rank of each; on a single node, every pair of its GPUs. All ranks get the result."""
    players = choose_players(hosts)
    if len(players) < 2:
        return Missing(missing="all ranks are on one node")
    return tuple(_measure_over(rank, messenger, players) for messenger in messengers)


def choose_players(hosts: Sequence[Host]) -> tuple[int, ...]:
    """The first rank of each node; on a single node all ranks, if each has a GPU of its own."""
    firsts = tuple(host.rank for host in hosts if host.local_rank == 0)
    everybody = tuple(host.rank for host in hosts)
    return everybody if len(firsts) == 1 and _have_own_gpus(hosts, everybody) else firsts


def _have_own_gpus(hosts: Sequence[Host], ranks: Sequence[int]) -> bool:
    uuids = {hosts[rank].gpu_uuid for rank in ranks}
    return None not in uuids and len(uuids) == len(ranks)


def _measure_over(rank: Rank, messenger: Messenger, players: Sequence[int]) -> PairTable:
    rounds = arrange_rounds(len(players))
    seen: dict[tuple[int, int], _Seen] = {}
    for _ in range(PASSES):
        _play(rank, messenger, players, rounds, seen)
    pairs = _share(messenger, players, seen)
    for _ in range(MORE_PASSES):
        # All ranks see the same pairs, and so agree on what to look at again.
        slow = set(find_slow_links(_tabulate(pairs, players)))
        if not slow:
            break
        _play(rank, messenger, players, [[match for match in one if match in slow] for one in rounds], seen)
        pairs = _share(messenger, players, seen)
    return PairTable(over=messenger.over, pairs=pairs)


def _play(
    rank: Rank,
    messenger: Messenger,
    players: Sequence[int],
    rounds: Sequence[Sequence[tuple[int, int]]],
    seen: dict[tuple[int, int], _Seen],
) -> None:
    """One tournament; the ranks that do not play wait at the barriers of its rounds."""
    own = rank.place.rank
    for matches in filter(None, rounds):
        rank.beacon.show(next(_ROUNDS), "probe")
        messenger.barrier()
        for a, b in matches:
            if own == players[a]:
                seen[a, b] = _better(_lead(messenger, players[b]), seen.get((a, b)))
            elif own == players[b]:
                _follow(messenger, players[a])


_ROUNDS = itertools.count()


def _tabulate(pairs: Sequence[Pair], players: Sequence[int]) -> NDArray[np.float64]:
    """Bandwidths, (players, players), NaN on the diagonal."""
    places = {rank: place for place, rank in enumerate(players)}
    bandwidth = np.full((len(players), len(players)), np.nan)
    for pair in pairs:
        a, b = places[pair.a_rank], places[pair.b_rank]
        bandwidth[a, b] = bandwidth[b, a] = pair.bandwidth_bytes_per_s
    return bandwidth


def _better(found: _Seen, before: _Seen | None) -> _Seen:
    return found if before is None else (min(found[0], before[0]), max(found[1], before[1]))


def _share(
    messenger: Messenger, players: Sequence[int], seen: dict[tuple[int, int], _Seen]
) -> tuple[Pair, ...]:
    """What each pair's leader saw, on all ranks: a sum to which the others add nothing."""
    pairs = [(a, b) for a in range(len(players)) for b in range(a + 1, len(players))]
    values = messenger.sum([value for pair in pairs for value in seen.get(pair, (0.0, 0.0))])
    return tuple(
        Pair(a_rank=players[a], b_rank=players[b], latency_s=latency_s, bandwidth_bytes_per_s=bandwidth)
        for (a, b), latency_s, bandwidth in zip(pairs, values[::2], values[1::2], strict=True)
    )


def _lead(messenger: Messenger, other: int) -> _Seen:
    """(latency in seconds, bandwidth in bytes/s) to another rank, which follows."""
    latency_s = _exchange(messenger, other, SMALL_BYTES, SMALL_TURNS)
    bandwidth = 0.0
    for size in LARGE_BYTES:
        took_s = _exchange(messenger, other, size, LARGE_TURNS)
        bandwidth = max(bandwidth, size / took_s)
        if took_s > FAST_S:
            break
    messenger.tell(OVER, other)
    return latency_s, bandwidth


def _exchange(messenger: Messenger, other: int, size: int, turns: int) -> float:
    """Half of the fastest round trip of a message, in seconds; the first one does not count."""
    message = messenger.make(size)
    fastest_s, spent_s = float("inf"), 0.0
    for turn in range(turns + 1):
        messenger.tell(size, other)
        begin_s = time.perf_counter()
        messenger.send(message, other)
        messenger.receive(message, other)
        took_s = time.perf_counter() - begin_s
        spent_s += took_s
        if turn:
            fastest_s = min(fastest_s, took_s / 2)
        if turn and spent_s > BOUND_S:
            break
    return fastest_s


def _follow(messenger: Messenger, leader: int) -> None:
    """Send back whatever the leader sends, until it has had enough."""
    message, held = None, -1
    while (size := messenger.hear(leader)) != OVER:
        if size != held:
            message, held = messenger.make(size), size
        messenger.receive(message, leader)
        messenger.send(message, leader)
