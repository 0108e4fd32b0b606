"""Raw pixels: written, gone on with, read back; and what a cut part says."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.datasets.part import Layout, Sample
from hpcdl.datasets.raw import RAW
from hpcdl.datasets.recognition import recognise
from hpcdl.errors import Mistake

LAYOUT = Layout(samples=5, encoded=False, shape=(4, 6, 3), classes=("a", "b"))
PIXELS = np.random.default_rng(1).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


def write(folder, indices, *, complete):
    part = RAW.create(folder, LAYOUT)
    for index in indices(part.written):
        part.add(Sample(f"{index}", index % 2, PIXELS[index]))
    part.close(complete=complete)


def test_an_interrupted_part_is_gone_on_with_and_reads_back_pixel_by_pixel(tmp_path):
    write(tmp_path / "train", lambda written: range(written, 3), complete=False)
    with pytest.raises(Mistake, match="not finished"):
        RAW.open(tmp_path / "train")
    write(tmp_path / "train", lambda written: range(written, 5), complete=True)
    found = recognise(tmp_path)
    assert (found.format, list(found.parts)) == ("raw", ["train"])
    part = RAW.open(found.parts["train"])
    assert part.labels.tolist() == [0, 1, 0, 1, 0]
    assert part.shape == (4, 6, 3)
    assert all(np.array_equal(part.read(index), PIXELS[index]) for index in range(5))


def test_an_array_in_fortrans_order_is_refused_by_name(tmp_path):
    write(tmp_path / "train", lambda written: range(written, 5), complete=True)
    np.save(tmp_path / "train/images.npy", np.asfortranarray(PIXELS))
    with pytest.raises(Mistake, match="Fortran's order") as caught:
        RAW.open(tmp_path / "train")
    assert "images.npy" in caught.value.what


def test_a_part_that_was_cut_in_the_middle_is_refused_by_name(tmp_path):
    write(tmp_path / "train", lambda written: range(written, 5), complete=True)
    images = tmp_path / "train/images.npy"
    images.write_bytes(images.read_bytes()[:200])
    with pytest.raises(Mistake, match=r"images\.npy"):
        RAW.open(tmp_path / "train")
