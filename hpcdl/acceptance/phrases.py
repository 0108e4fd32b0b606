"""How a number or a word that sticks out is told to a person: '5 visible cores where the fleet has 64'."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hpcdl import networks
from hpcdl.acceptance.words import read_table, shorten
from hpcdl.errors import HpcdlError

Form = Callable[[str, float, float | None], str]


class Phrase(NamedTuple):
    """What a metric is called, and the sentence that tells its number."""

    label: str
    form: Form


def _count(label: str, value: float, usual: float | None) -> str:
    return f"{value:g} {label}" + ("" if usual is None else f" where the fleet has {usual:g}")


def _events(label: str, value: float, usual: float | None) -> str:
    name = label.removesuffix("s") if value == 1 else label
    return f"{value:g} {name}" + (f" where the fleet has {usual:g}" if usual else "")


def _share(label: str, value: float, usual: float | None) -> str:
    """Relative to the fleet; the number itself where nothing is known of the fleet."""
    return f"{label} {value:,.4g}" if not usual else f"{100 * (value / usual - 1):+.0f} % {label}"


def _amount(unit: str, worth: float = 1.0, digits: str = ",.0f") -> Form:
    def tell(label: str, value: float, usual: float | None) -> str:
        other = "" if usual is None else f" where the fleet has {usual / worth:{digits}} {unit}"
        return f"{label} {value / worth:{digits}} {unit}{other}".lstrip()

    return tell


def _duration(label: str, value: float, usual: float | None) -> str:
    other = f", the fleet for {usual:.1f} s" if usual and usual >= 0.05 else ""
    return f"{label} for {value:.1f} s{other}"


def _quota(label: str, value: float, usual: float | None) -> str:
    other = "none" if usual is None else f"{usual:.2g}"
    return f"{label} {value:.2g} {'of a core' if value < 1 else 'cores'}; the fleet has {other}"


def _limit(label: str, value: float, usual: float | None) -> str:
    other = "none" if usual is None else f"{usual / 1e9:,.1f} GB"
    return f"{label} {value / 1e9:,.1f} GB; the fleet has {other}"


def _width(label: str, value: float, usual: float | None) -> str:
    return f"{label} x{value:g}" + ("" if usual is None else f" where the fleet has x{usual:g}")


def _named(label: str, value: float, usual: float | None) -> str:
    return f"{label} {value:g}" + ("" if usual is None else f" where the fleet has {usual:g}")


def _load(label: str, value: float, usual: float | None) -> str:
    return f"{label}: {value:.1f} cores" + (
        f" where the fleet has {usual:.1f}" if usual and usual >= 0.05 else ""
    )


def _verdict(label: str, value: float, usual: float | None) -> str:
    del value, usual
    return label


# What explains stands before what follows from it: clues are told in this order.
NUMBERS: dict[str, Phrase] = {
    "node.finished": Phrase("did not come to the end of its checks", _verdict),
    "arithmetic.{model}.repeatable": Phrase("does not compute the same twice", _verdict),
    "identity.cpu_limit_cores": Phrase("CPU quota", _quota),
    "identity.cores_visible": Phrase("visible hardware threads", _events),
    "identity.cores": Phrase("cores in the node", _count),
    "identity.sockets": Phrase("sockets", _count),
    "identity.gpus": Phrase("GPUs", _count),
    "identity.memory_limit_bytes": Phrase("memory limit", _limit),
    "identity.memory_bytes": Phrase("memory of", _amount("GB", 1e9)),
    "health.throttled_s": Phrase("throttled by heat", _duration),
    "health.thermal_throttled_s": Phrase("processor throttled by heat", _duration),
    "health.cpu_throttled_s": Phrase("held back by a CPU quota", _duration),
    "health.foreign_cores": Phrase("foreign load", _load),
    "health.ecc_uncorrected": Phrase("uncorrected memory errors", _events),
    "health.xid": Phrase("XID events", _events),
    "health.remapped_rows": Phrase("remapped rows", _events),
    "health.pcie_width": Phrase("PCIe link", _width),
    "health.pcie_generation": Phrase("PCIe generation", _named),
    "health.temperature_c": Phrase("", _amount("°C")),
    "health.clock_mhz": Phrase("clock of", _amount("MHz")),
    "data.unreadable": Phrase("unreadable files", _events),
    "soak.temperature_c": Phrase("in the soak", _amount("°C")),
    "soak.{model}.drift": Phrase("speed at the soak's end", _share),
    "train.{model}.images_per_s": Phrase("", _share),
    "matrix.flops_per_s": Phrase("matrix product", _share),
    "memory.bytes_per_s": Phrase("memory bandwidth", _share),
    "storage.bytes_per_s": Phrase("reading the data set", _share),
    "decode.images_per_s": Phrase("decoding", _share),
    "train.{model}.spread": Phrase("scatter of", _amount("%", 0.01, ".1f")),
    "train.{model}.power_w": Phrase("power", _share),
    "train.{model}.images_per_j": Phrase("images/J", _share),
    "link.bandwidth_bytes_per_s": Phrase("link bandwidth", _share),
    "link.latency_s": Phrase("link latency", _share),
    "allreduce.bandwidth_bytes_per_s": Phrase("allreduce bandwidth", _share),
    "allreduce.expected_ratio": Phrase("allreduce over what its links allow", _amount("%", 0.01)),
    "scaling.efficiency": Phrase("scaling efficiency", _amount("%", 0.01, ".1f")),
    "convergence.accuracy": Phrase("accuracy", _amount("%", 0.01, ".1f")),
}
WORDS = {
    "identity.cpu": "processor",
    "identity.gpu": "GPU",
    "identity.driver": "driver",
    "identity.vbios": "VBIOS",
    "identity.kernel": "kernel",
    "identity.system": "system",
    "identity.governor": "governor",
    "identity.nic": "network interface",
    "identity.nic_name": "network interface",
    "identity.limits": "limits",
    "identity.versions": "versions",
    "identity.vector": "vector instructions",
    "data.digest": "data set",
    "data.file": "unreadable:",
}
# By these a word is not compared, but explained.
DIGEST, LOSSES = "digest", "losses"


def split(metric: str) -> tuple[str, str]:
    """A metric with its network as it stands in the tables, and the network's title: 'LeNet'."""
    parts = metric.split(".")
    if len(parts) == 3 and parts[1] != "version":
        try:
            title = networks.find(parts[1]).title
        except HpcdlError:
            return metric, ""
        return f"{parts[0]}.{{model}}.{parts[2]}", title
    return metric, ""


def place_of(metric: str) -> int:
    """Where a clue stands among others: causes, then words, then what follows from them."""
    pattern, _ = split(metric)
    if pattern not in NUMBERS:
        return list(NUMBERS).index("health.throttled_s")
    return list(NUMBERS).index(pattern)


def tell_number(metric: str, value: float, usual: float | None) -> str:
    """'86 °C where the fleet has 61 °C', '-38 % LeNet'; without the fleet's where that is None."""
    pattern, title = split(metric)
    phrase = NUMBERS.get(pattern)
    if phrase is None:
        return _named(metric, value, usual)
    return phrase.form(_label(phrase.label, title), value, usual)


def tell_share(metric: str, share: float) -> str:
    """A part of what was to be: '-38 % LeNet'."""
    pattern, title = split(metric)
    phrase = NUMBERS.get(pattern)
    label = metric if phrase is None else _label(phrase.label, title)
    return f"{100 * (share - 1):+.0f} % {label or metric}"


def _label(label: str, title: str) -> str:
    if label.endswith(" of"):
        return f"{label} {title}".rstrip()
    return f"{label} with {title}" if label and title else label or title


def tell_word(metric: str, word: str, usual: str | None) -> str:
    """'torch 2.9 where the fleet has 2.10'; of tables in JSON, what differs."""
    pattern, title = split(metric)
    if pattern.endswith(f".{{model}}.{DIGEST}"):
        return f"computes other numbers than the fleet with {title}"
    label = metric.removeprefix("identity.version.")
    label = WORDS.get(metric, label.replace("_", " "))
    tables = None if usual is None else _compare_tables(word, usual)
    if tables:
        return tables
    other = "" if usual is None else f" where the fleet has {shorten(usual)}"
    return f"{label} {shorten(word)}{other}"


def _compare_tables(word: str, usual: str) -> str:
    """Key by key; empty where these are no tables."""
    own, others = read_table(word), read_table(usual)
    if own is None or others is None:
        return ""
    keys = [key for key in sorted({*own, *others}) if own.get(key) != others.get(key)]
    return "; ".join(
        f"{key} {shorten(str(own.get(key, 'missing')))} where the fleet has {shorten(str(others.get(key, 'none')))}"
        for key in keys
    )


def find_divergence(own: str, usual: str) -> int | None:
    """The first step, counted from 1, whose loss is another; None: there is none."""
    pairs = zip(own.split(), usual.split(), strict=False)
    return next((step for step, (one, other) in enumerate(pairs, start=1) if one != other), None)
