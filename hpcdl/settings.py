"""Where each value comes from: default < benchmark < site < flags, with the source of each kept beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import UnknownName
from hpcdl.frozen import Model, parse, read_toml
from hpcdl.site import Site
from hpcdl.spec import Benchmark

if TYPE_CHECKING:
    from collections.abc import Mapping

# Whoever says the one silences what earlier voices said of the other.
SILENCES = {
    "train.batch": "train.global_batch",
    "train.global_batch": "train.batch",
    "train.steps": "train.epochs",
    "train.epochs": "train.steps",
    "train.data": "train.data_dir",
    "train.engine": "launches.engines",
    "launches.engines": "train.engine",
}

Values = dict[str, Any]  # dotted key -> value


class Layered:
    """Values by dotted key, set by one source after another; the last one holds."""

    def __init__(self) -> None:
        self.values: Values = {}
        self.sources: dict[str, str] = {}

    def lay(self, values: Mapping[str, Any], source: str) -> None:
        """Put the values that are set (None: not said) above those that are there."""
        said = {key: value for key, value in values.items() if value is not None}
        for silenced in {SILENCES[key] for key in said.keys() & SILENCES.keys()} - said.keys():
            self.values.pop(silenced, None)
            self.sources.pop(silenced, None)
        self.values.update(said)
        self.sources.update(dict.fromkeys(said, source))

    def tables(self) -> dict[str, Any]:
        """The values as nested tables."""
        root: dict[str, Any] = {}
        for key, value in self.values.items():
            *path, last = key.split(".")
            table = root
            for part in path:
                table = table.setdefault(part, {})
            table[last] = value
        return root


def flatten(tables: Mapping[str, Any], prefix: str = "") -> Values:
    """Nested tables as dotted keys; those whose keys are the person's own stay whole."""
    flat: Values = {}
    for key, value in tables.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and key not in {
            "options",
            "environment",
            "idle_w",
            "partition_price",
            "tuned",
        }:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def choose_tuned(site: Site, benchmark: Benchmark) -> Values:
    """What was tuned for the benchmark's network, by dotted key; nothing where it was on another kind of device."""
    train = benchmark.train
    found = site.tuned.get(train.model, {})
    device = train.device if train.device != "auto" else site.kind
    if found.get("device", device) != device:
        return {}
    return {f"train.{key}": value for key, value in found.items() if key != "device"}


def resolve_benchmark(
    path: Path | None,
    flags: Mapping[str, tuple[Any, str]],
    *,
    defaults: Mapping[str, Any] | None = None,
    tuned: Mapping[str, Any] | None = None,
    tuned_in: str = "tuned",
) -> tuple[Benchmark, dict[str, str]]:
    """The benchmark of a file with flags above it, and the source of each value that somebody set.

    Args:
        path: A benchmark file; None: only flags.
        defaults: What the command takes for granted, below the file.
        tuned: What `hpcdl tune` has found, between the two.
        tuned_in: Where that stands.
        flags: Dotted key -> (value or None, the flag's name).

    Raises:
        Mistake: Names file or flag, key, and what is allowed.
    """
    layered = Layered()
    layered.lay(defaults or {}, "default")
    layered.lay(tuned or {}, tuned_in)
    if path is not None:
        tables = read_toml(path)
        parse(Benchmark, tables, where=str(path))
        layered.lay(_anchor(flatten(tables), path.parent), _short(path))
    return _with_flags(layered, Benchmark, flags)


def _anchor(values: Values, folder: Path) -> Values:
    """A file's `data_dir` is relative to the file; ranks start elsewhere, so that it is made absolute here."""
    named = values.get("train.data_dir")
    if named is None:
        return values
    path = folder / Path(os.path.expandvars(named)).expanduser()
    return values | {"train.data_dir": str(path.absolute())}


def resolve_site(
    site: Site, path: Path | None, flags: Mapping[str, tuple[Any, str]]
) -> tuple[Site, dict[str, str]]:
    """The site with flags above it, likewise."""
    layered = Layered()
    layered.lay(
        flatten(site.model_dump(mode="json", exclude_unset=True)), _short(path) if path else "default"
    )
    return _with_flags(layered, Site, flags)


def _with_flags(
    layered: Layered, model: type[Model], flags: Mapping[str, tuple[Any, str]]
) -> tuple[Model, dict[str, str]]:
    said = {key: value for key, (value, _) in flags.items() if value is not None}
    # In one breath: two flags that exclude each other are a contradiction, not a correction.
    layered.lay(said, "flags")
    spoken = {key: flags[key][1] for key in said}
    layered.sources.update(spoken)
    where = " ".join(spoken.values()) or "the settings"
    return parse(model, layered.tables(), where=where, flags=spoken), layered.sources


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.parent.name == "benchmarks" else path.name


def benchmarks_folder() -> Path:
    """The shipped benchmarks: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "_benchmarks"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "benchmarks"


# Beside the benchmarks, since that is where people look; it is a suite for `hpcdl accept`.
SUITE_EXAMPLE = "acceptance"


def shipped_benchmarks() -> dict[str, Path]:
    """Name -> file."""
    return {
        path.stem: path for path in sorted(benchmarks_folder().glob("*.toml")) if path.stem != SUITE_EXAMPLE
    }


def find_benchmark(text: str) -> Path:
    """A shipped benchmark by name, or a file of one's own by path.

    Raises:
        UnknownName: Neither.
    """
    shipped = shipped_benchmarks()
    if text in shipped:
        return shipped[text]
    if text.endswith(".toml") or "/" in text:
        return Path(text)
    raise UnknownName("benchmark", text, shipped)
