"""Layer tables as torch modules."""

from __future__ import annotations

from hpcdl.worker.models.build import build, memory_format

__all__ = ["build", "memory_format"]
