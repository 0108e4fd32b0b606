"""Horovod over NCCL, MPI or Gloo, driven by hooks on each parameter.

Horovod's own DistributedOptimizer and broadcast_parameters refuse tensors that are not contiguous, so it
cannot train channels_last weights. Here each gradient is handed over as the view in which its memory is
contiguous; nothing is copied, and the exchange starts as soon as backward has made the gradient.
"""

from __future__ import annotations

import importlib.util
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from hpcdl import networks
from hpcdl.errors import Refused
from hpcdl.worker.engine import rendezvous
from hpcdl.worker.engine.texts import to_bytes, to_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcdl.networks import Network
    from hpcdl.plan import Launch
    from hpcdl.store import LaunchFolder
    from hpcdl.worker.place import Place


# How late the end of an exchange may be noticed. Shorter only costs wake-ups.
POLL_S = 0.0002
# Horovod's own cycle is 1 ms. Above 5 ms nothing more is saved.
SHORTEST_CYCLE_MS, LONGEST_CYCLE_MS = 1.0, 5.0
# A fiftieth of what 1 GB/s, a loopback or a 10-Gbit/s link, carries in a second.
BYTES_PER_CYCLE_MS = 50e6


def is_installed() -> bool:
    return importlib.util.find_spec("horovod") is not None


def contiguous_view(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory with its dimensions in the order in which they lie there: a contiguous view.

    Raises:
        ValueError: The memory has gaps or overlaps, so no order of the dimensions is contiguous.
    """
    strides, sizes = tensor.stride(), tensor.shape
    order = sorted(range(tensor.dim()), key=lambda dim: (strides[dim], sizes[dim]), reverse=True)
    view = tensor.permute(order)
    if not view.is_contiguous():
        raise ValueError(f"strides {tuple(tensor.stride())} of {tuple(tensor.shape)} leave gaps")
    return view


class Horovod:
    name = "horovod"

    def __init__(self, hvd: Any, transport: str, rendezvous_server: Any, compression: str = "none") -> None:
        self.transport = transport
        self.rank: int = hvd.rank()
        self.world_size: int = hvd.size()
        self._hvd = hvd
        self._handles: list[int] = []
        # Of gradients that travel as halves: where each is to come back to.
        self._compression = compression
        self._halves: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._held = False
        # It must live as long as ranks may still come to it.
        self._rendezvous_server = rendezvous_server

    def attach(self, model: torch.nn.Module) -> torch.nn.Module:
        if self.world_size > 1:
            for name, parameter in model.named_parameters():
                self._average_when_ready(name, parameter)
        return model

    def _average_when_ready(self, name: str, parameter: torch.nn.Parameter) -> None:
        def exchange(ready: torch.Tensor) -> None:
            if self._held:
                return
            if ready.grad is None:  # a hook of torch's own that ran before us may have taken it
                raise RuntimeError(f"{name} has no gradient")
            gradient = contiguous_view(ready.grad)
            if self._compression == "fp16":
                half = gradient.to(torch.float16)
                self._halves.append((gradient, half))
                gradient = half
            self._handles.append(self._hvd.allreduce_async_(gradient, name=name, op=self._hvd.Sum))

        parameter.register_post_accumulate_grad_hook(exchange)  # type: ignore[no-untyped-call]

    def backward(self, loss: torch.Tensor) -> None:
        # The mean of N gradients is the sum of their Nths. Scaling the loss does that for nothing, where
        # Horovod's own averaging is one more pass over all gradients.
        loss.backward(torch.full_like(loss, 1.0 / self.world_size))  # type: ignore[no-untyped-call]

    def synchronize(self) -> None:
        for handle in self._handles:
            self._wait(handle)
        self._handles.clear()
        for gradient, half in self._halves:
            gradient.copy_(half)
        self._halves.clear()

    @contextmanager
    def hold(self, parallel: torch.nn.Module) -> Iterator[None]:  # noqa: ARG002 (the hooks are on its parameters)
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _wait(self, handle: int) -> None:
        """Horovod's own wait spins, and eats the core that its exchange needs to go on."""
        while not self._hvd.poll(handle):
            time.sleep(POLL_S)
        self._hvd.synchronize(handle)

    def exchange(self, tensors: Sequence[torch.Tensor]) -> None:
        names = (f"exchange.{index}.{tensor.numel()}" for index, tensor in enumerate(tensors))
        handles = [
            self._hvd.allreduce_async_(tensor, name=name, op=self._hvd.Sum)
            for name, tensor in zip(names, tensors, strict=True)
        ]
        for handle in handles:
            self._wait(handle)

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        handles = [
            self._hvd.broadcast_async_(contiguous_view(tensor.detach()), 0, name=f"broadcast.{index}")
            for index, tensor in enumerate(tensors)
        ]
        for handle in handles:
            self._wait(handle)

    def gather(self, text: str) -> list[str]:
        own = to_bytes(text)
        sizes = self._hvd.allgather(torch.tensor([own.numel()]), name="gather.sizes").tolist()
        return to_texts(self._hvd.allgather(own, name="gather.texts"), sizes)

    def sum(self, values: list[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64)
        return [float(value) for value in self._hvd.allreduce(total, name="sum", op=self._hvd.Sum)]

    def barrier(self) -> None:
        self._hvd.barrier()

    def close(self) -> None:
        self._hvd.shutdown()


def start(launch: Launch, place: Place, folder: LaunchFolder, device: torch.device) -> Horovod:
    """Initialise Horovod for this launch.

    Raises:
        Refused: Horovod is not installed, was not built with the transport, or the ranks do not meet.
    """
    if not is_installed():
        raise Refused(
            "Horovod is not installed here.", do="Build it with `make horovod`, or use --engine ddp."
        )
    import horovod.torch as hvd

    transport = _choose_transport(hvd, launch, device)
    controller = _choose_controller(launch, transport)
    _set_environment(launch, transport, controller)
    server = _meet(launch, place, folder) if controller == "gloo" else None
    hvd.init()
    return Horovod(hvd, transport, server, launch.train.compression)


def _choose_controller(launch: Launch, transport: str) -> str:
    """Who tells the ranks which gradients are ready everywhere: NCCL cannot, so the launcher decides there.

    MPI that was asked for is MPI, even where nothing starts it: the preflight then finds worlds of one.
    """
    return "mpi" if transport == "mpi" or (transport == "nccl" and starts_mpi(launch)) else "gloo"


def starts_mpi(launch: Launch) -> bool:
    """Whether the launcher gives each rank its place in one world of MPI."""
    return launch.launcher == "mpirun" or (launch.launcher == "srun" and launch.pmi not in {None, "none"})


def _choose_transport(hvd: Any, launch: Launch, device: torch.device) -> str:
    built = {"nccl": bool(hvd.nccl_built()), "mpi": bool(hvd.mpi_built()), "gloo": bool(hvd.gloo_built())}
    usable = {
        "nccl": built["nccl"] and device.type == "cuda",
        "mpi": built["mpi"] and (starts_mpi(launch) or launch.world_size == 1),
        "gloo": built["gloo"],
    }
    asked = launch.train.transport
    # Only MPI can carry a world of one that its launcher never connected: so `mpi` when asked by name
    # is started, and the preflight counts the ranks.
    if asked == "mpi" and built["mpi"]:
        return "mpi"
    chosen = next((name for name in usable if usable[name]), None) if asked == "auto" else asked
    if chosen is None or not usable[chosen]:
        have = ", ".join(name for name in built if built[name]) or "nothing"
        raise Refused(
            f"Horovod cannot exchange over {asked!r} here: it was built with {have}, on {device.type}.",
            do="Rebuild it with `make horovod`, or choose another --transport.",
        )
    return chosen


def _set_environment(launch: Launch, transport: str, controller: str) -> None:
    """Horovod takes its settings from the environment.

    What the plan says and the report repeats is set whatever stands there; in all else a site's own settings win.
    """
    os.environ.update(_planned(launch, controller))
    settings = _patience(launch)
    if transport == "nccl":
        settings["HOROVOD_GPU_OPERATIONS"] = "NCCL"
    else:
        settings["HOROVOD_CYCLE_TIME"] = f"{cycle_time_ms(networks.find(launch.train.model)):.1f}"
        # A rank that waits in MPI gives its core to the thread that computes there.
        settings["OMPI_MCA_mpi_yield_when_idle"] = "1"
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def cycle_time_ms(network: Network) -> float:
    """How often Horovod's ranks ask one another what is ready, where they compute on the same cores.

    Each question wakes a thread on all ranks, in the midst of their computing. Large gradients take long to
    exchange anyway, so a question each fiftieth of that time is enough; a small network waits for every answer.
    """
    return min(LONGEST_CYCLE_MS, max(SHORTEST_CYCLE_MS, network.gradient_bytes() / BYTES_PER_CYCLE_MS))


def _planned(launch: Launch, controller: str) -> dict[str, str]:
    return {
        "HOROVOD_CONTROLLER": controller,
        "HOROVOD_CPU_OPERATIONS": "gloo" if controller == "gloo" else "mpi",
        "HOROVOD_FUSION_THRESHOLD": str(launch.train.fusion_mb * 1024 * 1024),
    }


def _patience(launch: Launch) -> dict[str, str]:
    half = max(1, int(launch.progress_timeout_s / 2))
    return {
        # Off by default in Horovod: a stalled rank would wait for ever. Our own deadline comes between the two.
        "HOROVOD_STALL_CHECK_TIME_SECONDS": str(half),
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": str(4 * half),
        # Half a minute by default: a rank that is held up for longer would end the launch with Gloo's words.
        "HOROVOD_GLOO_TIMEOUT_SECONDS": str(4 * half),
    }


def _meet(launch: Launch, place: Place, folder: LaunchFolder) -> Any:
    """Horovod's Gloo without horovodrun: rank 0 serves the rendezvous, each rank says who it is."""
    address = rendezvous.own_address(launch)
    server = None
    if place.rank == 0:
        server, port = _serve(launch)
        rendezvous.announce(folder, place, rendezvous.Meeting(address, port))
    meeting = rendezvous.await_meeting(folder, place)
    os.environ.update(
        HOROVOD_GLOO_RENDEZVOUS_ADDR=meeting.address,
        HOROVOD_GLOO_RENDEZVOUS_PORT=str(meeting.port),
        HOROVOD_GLOO_IFACE=rendezvous.interface_of(address),
        HOROVOD_RANK=str(place.rank),
        HOROVOD_SIZE=str(place.world_size),
        HOROVOD_LOCAL_RANK=str(place.local_rank),
        HOROVOD_LOCAL_SIZE=str(launch.tasks_per_node),
        HOROVOD_CROSS_RANK=str(place.node),
        HOROVOD_CROSS_SIZE=str(launch.nodes),
        HOROVOD_HOSTNAME=_node_name(place.node),
    )
    return server


def _serve(launch: Launch) -> tuple[Any, int]:
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
    from horovod.runner.http.http_server import RendezvousServer

    server = RendezvousServer()
    port = server.start()
    # Only the shape matters here: how many ranks, local groups and cross groups to wait for.
    names = ",".join(f"{_node_name(node)}:{launch.tasks_per_node}" for node in range(launch.nodes))
    server.init(get_host_assignments(parse_hosts(names), launch.world_size))
    return server, port


def _node_name(node: int) -> str:
    return f"node{node}"
