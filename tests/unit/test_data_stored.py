"""Data sets in every format through DALI: the same batches as from the tree that they were made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hpcdl.errors import Mistake
from hpcdl.worker import data
from tests.data_requests import NEEDS_DALI, join, make_request
from tests.data_sets import WAYS, make_png_tree, write_from_tree
from tests.photographs import make_tree

pytestmark = NEEDS_DALI
AUGMENTATIONS = [
    {},
    {"crop": "position", "resize": 36},
    {"crop": "centre", "mirror": False, "invert": True, "mean": "none", "scale": 0.5},
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_png_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def raw(tree, tmp_path_factory):
    return write_from_tree(tree, tmp_path_factory.mktemp("raw"), "raw", encoded=False)


def open_set(root, name, **train):
    return data.make(make_request(**{"data": name, "data_dir": str(root), "global_batch": 8} | train))


@pytest.mark.parametrize(("name", "encoded"), WAYS)
@pytest.mark.parametrize("declared", AUGMENTATIONS, ids=["area", "position", "centre"])
def test_batches_are_those_of_the_tree_pixel_by_pixel(tree, tmp_path, name, encoded, declared):
    other = write_from_tree(tree, tmp_path, name, encoded=encoded)
    sources = [
        open_set(root, kind, augmentation=declared) for root, kind in ((tree, "folder"), (other, name))
    ]
    assert [(one.classes, one.images, one.held_out) for one in sources] == [(4, 36, 12)] * 2
    for one, same in (
        [join(source.open(9)) for source in sources],
        [join(source.validation()) for source in sources],
    ):
        assert torch.equal(one[1], same[1])
        assert torch.equal(one[0], same[0])
    [source.close() for source in sources]


def test_what_exif_says_of_a_photograph_turns_it_in_no_format(tmp_path):
    tree = make_tree(tmp_path / "tree", classes=2, per_class=8, size=48)
    for file in tree.rglob("*.jpg"):
        with Image.open(file) as image:
            exif = image.getexif()
            exif[0x0112] = 6  # Orientation: to be turned by 90 degrees
            image.save(file, exif=exif, quality=95)
    other = write_from_tree(tree, tmp_path / "raw", "raw", encoded=False)
    one, same = (
        join(open_set(root, kind, augmentation={"resize": 48, "crop": "centre"}).validation())
        for root, kind in ((tree, "folder"), (other, "raw"))
    )
    assert torch.equal(one[0], same[0])


def test_every_sample_is_read_and_verified(raw):
    source = open_set(raw, "raw")
    assert source.verify().files == 48
    assert source.verify().digest == source.listing_digest()


def test_a_mean_image_is_subtracted_before_the_window_is_cut(raw, tmp_path):
    mean = np.random.default_rng(1).uniform(50, 200, (48, 48, 1)).astype(np.float32)
    np.save(tmp_path / "mean.npy", mean)
    declared = {
        "crop": "centre",
        "resize": 48,
        "mirror": False,
        "mean": str(tmp_path / "mean.npy"),
        "scale": 1,
    }
    images, _ = join(open_set(raw, "raw", augmentation=declared).validation())
    own = np.load(raw / "val/images.npy")
    weights = np.array([0.299, 0.587, 0.114])
    by_hand = (own[0] @ weights - mean[..., 0])[10:38, 10:38]
    assert np.abs(images[0, 0].numpy() - by_hand).max() < 1


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"crop": "position", "resize": 20}, "a window of 28 x 28 cannot be cut"),
        ({"mean": "/nowhere/mean.npy"}, "there is no file /nowhere/mean.npy"),
    ],
)
def test_an_augmentation_that_cannot_be_is_refused(raw, declared, words):
    with pytest.raises(Mistake, match=words):
        open_set(raw, "raw", augmentation=declared)


def test_a_mean_image_of_another_size_is_refused(raw, tmp_path):
    np.save(tmp_path / "mean.npy", np.zeros((32, 32, 1), dtype=np.float32))
    declared = {"crop": "centre", "mean": str(tmp_path / "mean.npy")}
    with pytest.raises(Mistake, match="a mean image of 32 x 32"):
        open_set(raw, "raw", augmentation=declared)


def test_labels_that_do_not_fit_their_classes_are_named(tree, tmp_path):
    root = write_from_tree(tree, tmp_path, "raw", encoded=False)
    labels = np.load(root / "train/labels.npy")
    labels[5] = 4
    np.save(root / "train/labels.npy", labels)
    with pytest.raises(Mistake, match=r"images\.npy\[5\]: its label is 4, and there are 4 classes"):
        open_set(root, "raw")


def test_a_set_that_is_something_else_is_refused(raw):
    with pytest.raises(Mistake, match="class folders"):
        open_set(raw, "folder")


def test_without_a_manifest_a_tenth_is_held_out_as_of_a_tree(raw, tmp_path):
    part = tmp_path / "alone"
    part.mkdir()
    for file in ("images.npy", "labels.npy"):
        (part / file).write_bytes((raw / "train" / file).read_bytes())
    source = open_set(part, "raw")
    assert (source.images, source.held_out, source.classes) == (33, 3, 4)
    assert source.listing_digest() != open_set(raw, "raw").listing_digest()


def test_a_damaged_image_in_a_part_is_named(tree, tmp_path):
    encoded = [name for name, way in WAYS if way]
    if not encoded:
        pytest.skip("no format with encoded images")
    broken = tmp_path / "tree"
    for file in sorted(tree.rglob("*.png")):
        target = broken / file.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    victim = sorted((broken / "train").rglob("*.png"))[7]
    victim.write_bytes(victim.read_bytes()[:200])
    root = write_from_tree(broken, tmp_path / "set", encoded[0], encoded=True)
    with pytest.raises(Mistake, match="it is cut off"):
        open_set(root, encoded[0]).verify()


def test_grey_pixels_reach_a_network_in_colour_as_grey(tmp_path):
    tree = make_png_tree(tmp_path / "tree", size=256, grey=True)
    root = write_from_tree(tree, tmp_path / "set", "raw", encoded=False)
    folder = open_set(tree, "folder", model="alexnet", global_batch=4)
    stored = open_set(root, "raw", model="alexnet", global_batch=4)
    one, same = (next(source.open(1)).images for source in (folder, stored))
    assert one.shape == (4, 3, 227, 227)
    assert torch.equal(one, same)
    lenet = [next(open_set(place, kind).open(1)).images for place, kind in ((tree, "folder"), (root, "raw"))]
    assert torch.equal(*lenet)
