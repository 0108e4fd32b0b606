"""Several values of a GPU by one call of NVML, into memory that is laid out once: pynvml lays it out at every call."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# nvml.h, nvmlFieldValue_t: field, scope, time stamp, latency, type of the value, nvmlReturn_t, the value's union.
LAYOUT = struct.Struct("=IIqqII8s")
# nvml.h, nvmlValueType_t: double, unsigned int, unsigned long, unsigned long long, signed long long, signed int,
# unsigned short; on 64 bits a long is as long as a long long.
UNPACK = {
    kind: struct.Struct(code).unpack_from
    for kind, code in enumerate(("=d", "=I", "=Q", "=Q", "=q", "=i", "=H"))
}
Answer = tuple[int, int, int, int, int, int, bytes]  # as in LAYOUT


class Fields:
    """Values of one GPU that are read again and again, all in one call."""

    def __init__(self, nvml: Any, handle: Any, fields: Sequence[tuple[int, int]]) -> None:
        """`fields` are pairs of field and scope."""
        self._nvml = nvml
        self._handle = handle
        self._count = ctypes.c_int(len(fields))
        asked = b"".join(LAYOUT.pack(*one, 0, 0, 0, 0, b"") for one in fields)
        self._memory = ctypes.create_string_buffer(asked, len(asked))
        self._call = nvml.nvmlLib.nvmlDeviceGetFieldValues

    def read(self) -> Iterator[Answer]:
        """What each field answers, as it lies in LAYOUT.

        Raises:
            pynvml.NVMLError: The call itself failed.
        """
        code = self._call(self._handle, self._count, self._memory)
        if code:
            raise self._nvml.NVMLError(code)
        return LAYOUT.iter_unpack(self._memory)
