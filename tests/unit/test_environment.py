"""What a rank reads of its machine."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from hpcdl.worker.environment import read_driver

OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (builder@host)  Sun\n"
)
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024\n"
VERSIONS = {
    "open": (f"{OPEN}GCC version:  gcc version 13.3.0\n", "580.65.06"),
    "closed": (CLOSED, "470.256.02"),
    "other": ("something else 1.2.3\n", None),
    "empty": ("", None),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_the_driver_by_its_own_file(tmp_path, case):
    text, version = VERSIONS[case]
    (tmp_path / "version").write_text(text)
    assert read_driver(str(tmp_path / "version")) == version


def test_without_a_driver_there_is_none(tmp_path):
    assert read_driver(str(tmp_path / "version")) is None
