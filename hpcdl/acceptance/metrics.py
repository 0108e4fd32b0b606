"""What can be required, by name: the unit, whose number it is, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpcdl import networks
from hpcdl.errors import Mistake, UnknownName

Scope = Literal["system", "node", "device", "pair"]
Better = Literal["higher", "lower", "same"]
Dimension = Literal[
    "images/s",
    "images/J",
    "bytes/s",
    "FLOP/s",
    "bytes",
    "s",
    "°C",
    "W",
    "MHz",
    "cores",
    "count",
    "ratio",
    "text",
]
# Which part of an acceptance makes it.
Test = Literal["node", "links", "scaling", "convergence"]


@dataclass(frozen=True)
class Metric:
    """Something that an acceptance sees. `timed`: it scatters from repeat to repeat, and is judged by an interval.

    `{model}` in a name stands for a network. `gpu`: only GPUs have it.
    """

    name: str
    dimension: Dimension
    scope: Scope
    better: Better
    test: Test
    about: str
    timed: bool = False
    gpu: bool = False


_ALL = (
    Metric("node.finished", "count", "node", "higher", "node", "1: came to the end of its checks; 0: was lost"),
    # What a node is. Compared as words with the fleet's majority.
    Metric("identity.cpu", "text", "node", "same", "node", "the processor's name"),
    Metric("identity.sockets", "count", "node", "same", "node", "processor sockets of the node"),
    Metric("identity.cores", "count", "node", "same", "node", "cores of the node"),
    Metric("identity.cores_visible", "count", "node", "same", "node", "hardware threads that a rank may use"),
    Metric("identity.cpu_limit_cores", "cores", "node", "higher", "node", "the tightest CPU quota of its cgroups"),
    Metric("identity.memory_bytes", "bytes", "node", "same", "node", "memory of the node"),
    Metric("identity.memory_limit_bytes", "bytes", "node", "higher", "node", "the tightest limit of its cgroups"),
    Metric("identity.gpus", "count", "node", "same", "node", "GPUs that a rank sees"),
    Metric("identity.gpu", "text", "node", "same", "node", "the GPUs' names"),
    Metric("identity.driver", "text", "node", "same", "node", "NVIDIA's kernel module"),
    Metric("identity.vbios", "text", "node", "same", "node", "the GPUs' VBIOS"),
    Metric("identity.kernel", "text", "node", "same", "node", "the Linux kernel"),
    Metric("identity.system", "text", "node", "same", "node", "the distribution"),
    Metric("identity.governor", "text", "node", "same", "node", "the governor of the processor's clock"),
    Metric("identity.nic", "text", "node", "same", "node", "network interface: driver and speed"),
    Metric("identity.limits", "text", "node", "same", "node", "on open files, processes, locked memory"),
    Metric("identity.versions", "text", "node", "same", "node", "of the loaded libraries, and hpcdl's own code"),
    # What it computes, exactly.
    Metric("arithmetic.{model}.digest", "text", "device", "same", "node", "losses and weights, deterministic"),
    Metric("arithmetic.{model}.repeatable", "count", "device", "higher", "node", "1: twice the same"),
    # How fast.
    Metric("train.{model}.images_per_s", "images/s", "device", "higher", "node", "training alone", timed=True),
    Metric("train.{model}.images_per_j", "images/J", "node", "higher", "node", "per joule of the meters", timed=True),
    Metric("train.{model}.power_w", "W", "node", "lower", "node", "the node's meters meanwhile", timed=True),
    Metric("train.{model}.spread", "ratio", "device", "lower", "node", "of its repeats: standard deviation over mean"),
    Metric("matrix.flops_per_s", "FLOP/s", "device", "higher", "node", "matrix product", timed=True),
    Metric("memory.bytes_per_s", "bytes/s", "device", "higher", "node", "memory bandwidth", timed=True),
    Metric("storage.bytes_per_s", "bytes/s", "node", "higher", "node", "reading the data set", timed=True),
    Metric("decode.images_per_s", "images/s", "node", "higher", "node", "DALI's decode rate", timed=True),
    Metric("data.unreadable", "count", "node", "lower", "node", "files that cannot be decoded"),
    Metric("data.digest", "text", "node", "same", "node", "the data set's content"),
    # How it fares.
    Metric("health.temperature_c", "°C", "device", "lower", "node", "the hottest that was seen"),
    Metric("health.throttled_s", "s", "device", "lower", "node", "held back by heat or power brake", gpu=True),
    Metric("health.clock_mhz", "MHz", "device", "higher", "node", "the clock while training"),
    Metric("health.ecc_uncorrected", "count", "device", "lower", "node", "uncorrected memory errors", gpu=True),
    Metric("health.xid", "count", "device", "lower", "node", "XID events meanwhile", gpu=True),
    Metric("health.remapped_rows", "count", "device", "lower", "node", "remapped rows, done or pending", gpu=True),
    Metric("health.pcie_width", "count", "device", "same", "node", "lanes of the GPU's link to the host", gpu=True),
    Metric("health.pcie_generation", "count", "device", "same", "node", "that link's generation", gpu=True),
    Metric("health.cpu_throttled_s", "s", "node", "lower", "node", "a CPU quota held the ranks back"),
    Metric("health.foreign_cores", "cores", "node", "lower", "node", "kept busy by others' processes"),
    Metric("soak.{model}.drift", "ratio", "device", "higher", "node", "the last tenth's speed over the first's"),
    Metric("soak.temperature_c", "°C", "device", "lower", "node", "the hottest while training on and on"),
    # Between nodes.
    Metric("link.bandwidth_bytes_per_s", "bytes/s", "pair", "higher", "links", "large messages between two nodes"),
    Metric("link.latency_s", "s", "pair", "lower", "links", "half a round trip of 8 bytes"),
    Metric("allreduce.bandwidth_bytes_per_s", "bytes/s", "system", "higher", "links", "bus bandwidth, largest message"),
    Metric("allreduce.expected_ratio", "ratio", "system", "higher", "links", "over what the usual link allows"),
    # All of them.
    Metric("scaling.efficiency", "ratio", "system", "higher", "scaling", "speed over N times one node's", timed=True),
    Metric("convergence.accuracy", "ratio", "system", "higher", "convergence", "held-out images that get their label"),
)  # fmt: skip
METRICS = {metric.name: metric for metric in _ALL}
# Metric -> the word by which a node explains its number.
EXPLANATIONS = {"node.finished": "node.ending", "data.unreadable": "data.file"}


def find(name: str, *, where: str = "") -> Metric:
    """The metric of a name, with a network's name in the place of `{model}`.

    Raises:
        UnknownName: There is none; the nearest is named.
    """
    if name in METRICS and "{" not in name:
        return METRICS[name]
    parts = name.split(".")
    if len(parts) == 3 and (pattern := f"{parts[0]}.{{model}}.{parts[2]}") in METRICS:
        try:
            networks.find(parts[1])
        except UnknownName as unknown:
            raise Mistake(f"{where}: {unknown.what}" if where else unknown.what, do=unknown.do) from None
        return METRICS[pattern]
    shown = [known.replace("{model}", parts[1] if len(parts) == 3 else "lenet") for known in METRICS]
    raise UnknownName("metric", name, shown, where=where)


# Dimension -> unit as written -> what it is worth in hpcdl's own.
UNITS: dict[Dimension, dict[str, float]] = {
    "images/s": {"images/s": 1.0},
    "images/J": {"images/J": 1.0},
    "bytes/s": {"B/s": 1.0, "kB/s": 1e3, "MB/s": 1e6, "GB/s": 1e9, "TB/s": 1e12, "MiB/s": 2.0**20, "GiB/s": 2.0**30,
                "Mbit/s": 1e6 / 8, "Gbit/s": 1e9 / 8},
    "FLOP/s": {"FLOP/s": 1.0, "GFLOP/s": 1e9, "TFLOP/s": 1e12, "PFLOP/s": 1e15},
    "bytes": {"B": 1.0, "MB": 1e6, "GB": 1e9, "TB": 1e12, "MiB": 2.0**20, "GiB": 2.0**30},
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6},
    "°C": {"°C": 1.0, "C": 1.0},
    "W": {"W": 1.0, "kW": 1e3},
    "MHz": {"MHz": 1.0, "GHz": 1e3},
    "cores": {"cores": 1.0, "core": 1.0},
    "count": {"": 1.0},
    "ratio": {"": 1.0, "%": 0.01},
    "text": {},
}  # fmt: skip
