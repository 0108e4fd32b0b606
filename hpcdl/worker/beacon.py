"""Where a rank is, readable from outside even after it was killed: sixteen bytes of shared memory."""

from __future__ import annotations

import mmap
import os
import struct

PHASES = (
    "start",
    "rendezvous",
    "preflight",
    "data",
    "input",
    "compute",
    "exchange",
    "update",
    "validate",
    "probe",
    # Of a check: which of its looks it is at; "data" is above.
    "identity",
    "topology",
    "arithmetic",
    "matrix",
    "memory",
    "storage",
    "decode",
    "train",
    "health",
    "soak",
    "end",
)
_LAYOUT = struct.Struct("<qq")


class Beacon:
    """A (step, phase) pair in memory that a rank and its supervisor share.

    A rank that is killed or hangs in C says nothing any more; what it said last still stands here.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _LAYOUT.size)

    @classmethod
    def create(cls) -> Beacon:
        """New shared memory; `descriptor` is to be passed to the child."""
        descriptor = os.memfd_create("hpcdl-beacon", 0)
        os.ftruncate(descriptor, _LAYOUT.size)
        return cls(descriptor)

    def show(self, step: int, phase: str) -> None:
        _LAYOUT.pack_into(self._memory, 0, step, PHASES.index(phase))

    def read(self) -> tuple[int, str]:
        """The last step and phase that were shown."""
        step, phase = _LAYOUT.unpack_from(self._memory, 0)
        return step, PHASES[phase]
