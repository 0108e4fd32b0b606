"""How this node is wired, read from sysfs and from NVML; `read` is the whole of it."""

from __future__ import annotations

from hpcdl.worker.topology.node import read

__all__ = ["read"]
