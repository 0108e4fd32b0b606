"""NVML, started for as long as it is needed."""

from __future__ import annotations

from typing import Any

from hpcdl.records import Missing


class Session:
    """NVML, from now until the end of a block."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def __enter__(self) -> Any:
        return self._nvml

    def __exit__(self, *problem: object) -> None:
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return


def open_session() -> Session | Missing:
    """NVML, started; or why it cannot be."""
    try:
        import pynvml
    except ImportError:
        return Missing(missing="nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as problem:
        return Missing(missing=f"NVML: {problem}")
    return Session(pynvml)
