"""The device's own matrix product: what its arithmetic can do here and now, beside which training is held."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

# Large enough that a product is bound by arithmetic, small enough to be repeated within the time.
CPU_SIDE, GPU_SIDE = 1536, 8192
SECONDS = 0.3
FEWEST = 3
TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class MatrixProbe:
    """Square products of one size on one device."""

    def __init__(self, device: torch.device, dtype: str) -> None:
        self._device = device
        self._side = GPU_SIDE if device.type == "cuda" else CPU_SIDE
        # Its own, so that what the training draws is the same with and without it.
        generator = torch.Generator(device).manual_seed(1)
        shape = (self._side, self._side)
        self._a, self._b = (
            torch.randn(shape, generator=generator, device=device).to(TYPES[dtype]) for _ in range(2)
        )
        self._product = torch.empty_like(self._a)

    @property
    def flops(self) -> float:
        """Of one product: a multiplication and an addition for each of side^3 terms."""
        return 2.0 * self._side**3

    def measure(self, seconds: float = SECONDS, clock: Callable[[], float] = time.perf_counter) -> float:
        """FLOP/s of the fastest of the products that fit into so many seconds, at least three.

        The fastest, since this is to say what the device can do; what disturbs it is the training's own risk.
        """
        self._multiply(clock)
        fastest_s, spent_s, count = float("inf"), 0.0, 0
        while count < FEWEST or spent_s < seconds:
            took_s = self._multiply(clock)
            fastest_s, spent_s, count = min(fastest_s, took_s), spent_s + took_s, count + 1
        return self.flops / fastest_s

    def _multiply(self, clock: Callable[[], float]) -> float:
        begin_s = clock()
        torch.mm(self._a, self._b, out=self._product)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return clock() - begin_s
