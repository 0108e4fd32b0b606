"""Versions of what is loaded, and of what would be: without starting MPI, Horovod or DALI to ask them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from hpcdl.worker.environment import read_versions

# Module -> distributions that bring it.
IMPORTABLE = {
    "horovod": ("horovod",),
    "nvidia.dali": ("nvidia-dali-cuda130", "nvidia-dali-cuda120", "nvidia-dali-cuda110"),
}
NAMES = {"nvidia.dali": "dali"}
_VERSION = re.compile(r"^__version__\s*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)


@dataclass(frozen=True)
class Software:
    """Library -> version."""

    versions: dict[str, str]

    @property
    def words(self) -> dict[str, str]:
        """All of them as one word, in canonical JSON, and each as a word of its own."""
        single = {f"version.{name}": version for name, version in self.versions.items()}
        return {"versions": json.dumps(self.versions, sort_keys=True, separators=(",", ":")), **single}


def read_software() -> Software:
    """What this rank computes with. `torch.build` is a digest of how torch was built, of this machine's CPU apart."""
    loaded = read_versions().model_dump(exclude_none=True)
    found = {NAMES.get(module, module): read_importable(module) for module in IMPORTABLE}
    known = {name: version for name, version in found.items() if version}
    return Software(known | loaded | {"torch.build": digest_build(torch.__config__.show())})


def digest_build(configuration: str) -> str:
    """Eight hexadecimal digits over torch's own description of its build, without what it says of this CPU."""
    lines = [line for line in configuration.splitlines() if "CPU capability" not in line]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]


def read_importable(module: str) -> str | None:
    """The version that an import would bring, from its own file, else from its distribution; None: there is none."""
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        return None
    if found is None or found.origin is None:
        return None
    written = _VERSION.search(_read(Path(found.origin)))
    return written[1] if written else _find_distribution(IMPORTABLE.get(module, (module,)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _find_distribution(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
