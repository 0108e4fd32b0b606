"""Arithmetic that training achieves, over what the device's own matrix product does, and over its published peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpcdl import networks
from hpcdl.analysis.readings import derive
from hpcdl.records import Missing, Reading

if TYPE_CHECKING:
    from hpcdl.analysis.launch import LaunchResult

# Dense FLOP/s without sparsity, by a part of the name that torch gives a GPU; the first that fits counts. fp32 is that
# of the ordinary units.
# H100, H200 (SXM): NVIDIA's H100 architecture paper, 66.9, 494.7 and 989.4; A100: its datasheet, 19.5, 156 and 312;
# V100: 15.7; P100: 10.6, an eighth of half the DGX-1's 170 TFLOP/s in half precision.
PEAKS: tuple[tuple[str, dict[str, float]], ...] = (
    ("H200", {"fp32": 66.9e12, "tf32": 494.7e12, "bf16": 989.4e12}),
    ("H100 80GB HBM3", {"fp32": 66.9e12, "tf32": 494.7e12, "bf16": 989.4e12}),
    ("A100", {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12}),
    ("V100-SXM2", {"fp32": 15.7e12}),
    ("P100-SXM2", {"fp32": 10.6e12}),
)


@dataclass(frozen=True)
class Arithmetic:
    """Per device (per rank), in FLOP/s; `of_matrix` and `of_peak` are fractions.

    `achieved` counts a training step's own operations: forward, weight gradients, input gradients; 2 to a MAC.
    `matrix` is the mean over the ranks of the products measured before and after the window; `matrix_drift` how
    much faster the later ones were.
    """

    achieved: Reading
    matrix: Reading
    matrix_drift: Reading
    of_matrix: Reading
    peak: Reading
    of_peak: Reading


def measure_arithmetic(launch: LaunchResult) -> Arithmetic:
    """What a training launch made of its devices."""
    flops = networks.find(launch.plan.train.model).train_flops
    achieved = derive(lambda rate: rate * flops, launch.images_per_s_per_rank)
    matrix, drift = _measure_matrix(launch)
    peak = find_peak(launch)
    return Arithmetic(
        achieved=achieved,
        matrix=matrix,
        matrix_drift=drift,
        of_matrix=derive(lambda own, device: own / device, achieved, matrix),
        peak=peak,
        of_peak=derive(lambda own, device: own / device, achieved, peak),
    )


def _measure_matrix(launch: LaunchResult) -> tuple[Reading, Reading]:
    rates = [one.matrix_flops_per_s for one in launch.conditions if len(one.matrix_flops_per_s) == 2]
    if not rates:
        absent = Missing(missing="no matrix product was measured beside the training")
        return absent, absent
    before, after = (float(np.mean(column)) for column in zip(*rates, strict=True))
    return (before + after) / 2, after / before - 1


def find_peak(launch: LaunchResult) -> Reading:
    """The published peak of the launch's GPU at its precision."""
    gpus = {gpu for machine in launch.machines for gpu in machine.gpus}
    if len(gpus) != 1:
        return Missing(missing="peaks are known of GPUs only" if not gpus else "the GPUs are not all alike")
    [gpu] = gpus
    for name, rates in PEAKS:
        if name in gpu and launch.plan.train.dtype in rates:
            return rates[launch.plan.train.dtype]
    return Missing(missing=f"no published peak is known here for {gpu} at {launch.plan.train.dtype}")
