"""A tree of JPEG files through a real DALI pipeline, against Pillow and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hpcdl.errors import Failure, Mistake
from hpcdl.worker import data
from hpcdl.worker.data.cutting import choose_shorter_side
from tests.data_requests import NEEDS_DALI, join, make_request
from tests.photographs import make_tree

pytestmark = NEEDS_DALI


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tiles"), classes=3, per_class=16, size=96)


def open_folder(root, **options):
    return data.make(make_request(**{"data": "folder", "data_dir": str(root), "global_batch": 12, **options}))


def test_classes_and_sizes_are_those_of_the_tree(tiles):
    source = open_folder(tiles)
    assert (source.classes, source.images, source.held_out) == (3, 36, 12)
    assert source.class_names == ("flower-0", "temple-0", "temple-1")


def test_four_ranks_read_what_one_rank_reads(tiles):
    """Without augmentation an image at a global index is the same, to the last bit, whoever reads it."""
    alone, labels = join(open_folder(tiles, augment=False).open(5))
    sources = [open_folder(tiles, augment=False, rank=rank, world_size=4) for rank in range(4)]
    streams = [source.open(5) for source in sources]
    together, more_labels = join(batch for step in zip(*streams, strict=True) for batch in step)
    assert torch.equal(together, alone)
    assert torch.equal(more_labels, labels)
    assert len({image.numpy().tobytes() for image in alone[:36]}) == 36


def test_the_validation_of_all_ranks_holds_each_image_once_with_its_label(tiles):
    """Twelve images over eight ranks with room for two each: short batches, and each image by its values."""
    parts = []
    for rank in range(8):
        parts += list(open_folder(tiles, rank=rank, world_size=8, global_batch=16).validation())
    images, labels = join(parts)
    assert {len(batch.labels) for batch in parts} == {1, 2}
    files = sorted((tiles / "val").glob("*/*.jpg"))
    by_hand = np.stack([_prepare_by_hand(file, side=28, shorter=32, mode="L") for file in files])
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    differences = abs(images.numpy() * 256 - by_hand[:, None])
    assert differences.max() < 8  # grey levels: two JPEG decoders and two ways to grey
    assert differences.mean() < 1


def test_a_rank_without_held_out_images_has_no_batches(tmp_path):
    make_tree(tmp_path, classes=2, per_class=4, size=32)
    batches = [open_folder(tmp_path, rank=r, world_size=3, global_batch=3).validation() for r in range(3)]
    assert [len(list(part)) for part in batches] == [0, 1, 1]


def _prepare_by_hand(file, *, side, shorter, mode="RGB"):
    """Resize and cut the centre as the pipeline should, with Pillow."""
    image = Image.open(file).convert(mode)
    factor = shorter / min(image.size)
    size = [round(length * factor) for length in image.size]
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    return pixels[top : top + side, left : left + side]


def test_values_are_those_of_the_networks_normalisation(tmp_path):
    """An oblong PNG, so that only resizing, cutting and arithmetic can differ; 300 x 450 becomes 256 x 384."""
    rng = np.random.default_rng(5)
    rough = Image.fromarray(rng.integers(0, 255, (30, 20, 3), dtype=np.uint8))
    for part in ("train", "val"):
        (tmp_path / part / "only").mkdir(parents=True)
        rough.resize((300, 450), Image.Resampling.BICUBIC).save(tmp_path / part / "only" / "1.png")
    source = open_folder(tmp_path, model="alexnet-owt", global_batch=1)
    images, labels = join(source.validation())
    pixels = _prepare_by_hand(tmp_path / "val/only/1.png", side=224, shorter=256)
    by_hand = (pixels - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    assert labels.tolist() == [0]
    assert abs(images[0].permute(1, 2, 0).numpy() - by_hand).max() < 2 / 57
    assert abs(images[0].permute(1, 2, 0).numpy() - by_hand).mean() < 0.5 / 57


def test_caffes_alexnet_sees_pixels_less_their_mean(tiles):
    images, _ = join(open_folder(tiles, model="alexnet", global_batch=3).validation())
    pixels = images.numpy() + np.array([123, 117, 104], dtype=np.float32)[None, :, None, None]
    assert np.array_equal(pixels, np.rint(pixels))
    assert 0 <= pixels.min() < 50
    assert 200 < pixels.max() <= 255


def test_augmentation_follows_the_seed_and_changes_each_epoch(tiles):
    first, again, other = (join(open_folder(tiles, seed=seed).open(6))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({image.numpy().tobytes() for image in first}) == 72


def test_half_of_the_training_images_are_mirrored(tmp_path):
    """Dark on the left, bright on the right: whatever part is taken shows its side."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    for index in range(40):
        (tmp_path / "train/ramp").mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp).save(tmp_path / f"train/ramp/{index}.png")
    images, _ = join(open_folder(tmp_path, global_batch=36).open(4))
    mirrored = (images[..., 0] > images[..., -1]).all(dim=-1).squeeze()
    upright = (images[..., 0] < images[..., -1]).all(dim=-1).squeeze()
    assert (mirrored | upright).all()
    assert 40 < mirrored.sum() < 104


def test_channels_last_comes_from_the_pipeline(tiles):
    batch = next(open_folder(tiles, model="overfeat", global_batch=3, channels_last=True).open(1))
    assert batch.images.shape == (3, 3, 221, 221)
    assert batch.images.stride() == (221 * 221 * 3, 1, 221 * 3, 3)


def test_a_file_that_breaks_during_training_ends_it_as_a_failure(tmp_path, capfd):
    make_tree(tmp_path, classes=2, per_class=4, size=32)
    source = open_folder(tmp_path, global_batch=6)
    next((tmp_path / "train").glob("*/*.jpg")).unlink()
    with pytest.raises(Failure, match=r"could not make a batch: File mapping failed: .*jpg"):
        list(source.open(1))


def test_more_ranks_than_images_are_refused(tiles):
    with pytest.raises(Mistake, match="40 ranks are more than the 36 training images"):
        open_folder(tiles, world_size=40, global_batch=40)


@pytest.mark.parametrize(
    ("side", "shorter"), [(227, 256), (224, 256), (221, 256), (231, 256), (28, 32), (299, 342)]
)
def test_the_shorter_side_is_the_published_one(side, shorter):
    assert choose_shorter_side(side) == shorter
