"""The digits through a real DALI pipeline, against the same numbers made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from hpcdl.errors import Failure, Mistake
from hpcdl.plan import DIGITS_TRAINING_IMAGES
from hpcdl.worker import data
from tests.data_requests import NEEDS_DALI, join, make_request

pytestmark = NEEDS_DALI


def open_digits(**options):
    return data.make(make_request(data="digits", **options))


def resize_by_hand(digit, side):
    """The same enlargement by another library: linear, pixel centres aligned."""
    pixels = np.rint(digit * (255 / 16)).astype(np.uint8)
    return np.asarray(
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32
    )


def identify(images):
    """Which of the digits each image is: the nearest after averaging back to 8 x 8; (samples,)."""
    known = torch.from_numpy(np.stack([resize_by_hand(digit, 28) for digit in load_digits().images]))
    return torch.cdist(images.flatten(1) * 256, known.flatten(1)).argmin(dim=1)


def test_sizes_agree_with_the_plan():
    source = open_digits()
    assert (source.images, source.held_out, source.classes) == (DIGITS_TRAINING_IMAGES, 359, 10)


@pytest.mark.parametrize("world_size", [1, 4])
def test_validation_holds_each_held_out_digit_once_with_its_label(world_size):
    parts = []
    for rank in range(world_size):
        batches = list(open_digits(rank=rank, world_size=world_size, global_batch=32).validation())
        sizes = [len(batch.labels) for batch in batches]
        assert set(sizes[:-1]) == {32 // world_size}
        assert 0 < sizes[-1] <= 32 // world_size
        parts += batches
    images, labels = join(parts)
    which = identify(images)
    assert len(labels) == len(set(which.tolist())) == 359
    assert labels.tolist() == load_digits().target[which].tolist()
    share = np.bincount(labels) / np.bincount(load_digits().target)
    assert share.min() > 0.19
    assert share.max() < 0.21


def test_training_and_validation_have_nothing_in_common():
    source = open_digits(augment=False, global_batch=100)
    images, labels = join(source.open(15))
    epoch = identify(images[:DIGITS_TRAINING_IMAGES])
    assert len(set(epoch.tolist())) == DIGITS_TRAINING_IMAGES
    assert labels[:DIGITS_TRAINING_IMAGES].tolist() == load_digits().target[epoch].tolist()
    assert not set(epoch.tolist()) & set(identify(join(source.validation())[0]).tolist())


def test_values_are_those_of_lenets_normalisation():
    images, _ = join(open_digits(augment=False).open(1))
    which = identify(images)
    by_hand = np.stack([resize_by_hand(load_digits().images[index], 28) for index in which]) / 256
    assert abs(images[:, 0].numpy() - by_hand).max() <= 1.01 / 256


def test_a_network_in_colour_gets_the_digit_in_all_channels():
    images, _ = join(open_digits(model="alexnet-owt", global_batch=2, augment=False).open(1))
    mean, scale = (
        np.array(part)[:, None, None] for part in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    )
    pixels = images[0].numpy() * scale + mean
    assert images.shape == (2, 3, 224, 224)
    assert pixels.max() > 200
    assert np.allclose(pixels[0], pixels[1], atol=1e-3)
    assert np.allclose(pixels[0], pixels[2], atol=1e-3)


def test_augmentation_moves_whole_pixels_and_mirrors_nothing():
    plain, labels = join(open_digits(augment=False, global_batch=64).open(1))
    moved, same_labels = join(open_digits(augment=True, global_batch=64).open(1))
    assert torch.equal(labels, same_labels)
    shifts = [_find_shift(a[0], b[0]) for a, b in zip(plain, moved, strict=True)]
    assert None not in shifts
    assert len(set(shifts)) > 10
    assert {abs(value) for shift in shifts for value in shift} == {0, 1, 2}


def _find_shift(plain, moved):
    padded = torch.nn.functional.pad(plain, (2, 2, 2, 2))
    for top in range(5):
        for left in range(5):
            if torch.equal(padded[top : top + 28, left : left + 28], moved):
                return top - 2, left - 2
    return None


def test_the_same_request_gives_the_same_batches_and_another_seed_others():
    first, again, other = (join(open_digits(seed=seed).open(4)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_an_image_is_augmented_alike_whatever_the_number_of_ranks():
    """Of the stream, not of a rank: two ranks together see the very batches of one."""
    alone = join(data.make(make_request(data="digits", global_batch=64)).open(3))[0]
    parts = [
        list(data.make(make_request(data="digits", rank=rank, world_size=2, global_batch=64)).open(3))
        for rank in range(2)
    ]
    together = torch.cat([batch.images for step in zip(*parts, strict=True) for batch in step])
    assert torch.equal(alone, together)
    assert len({image.numpy().tobytes() for image in alone}) > 180, "no two places are moved alike by rule"


@pytest.mark.parametrize("channels_last", [True, False])
def test_batches_stay_valid_and_in_their_format(channels_last):
    source = open_digits(model="alexnet", global_batch=4, channels_last=channels_last)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    kept, copies = [], []
    for batch in source.open(8):
        assert batch.images.is_contiguous(memory_format=wanted)
        assert batch.images.dtype == torch.float32
        kept.append(batch.images)
        copies.append(batch.images.clone())
    source.close()
    assert len(kept) == 8
    assert all(torch.equal(*pair) for pair in zip(kept, copies, strict=True))


def test_a_closed_source_gives_no_more():
    source = open_digits()
    batches = source.open(100)
    next(batches)
    source.close()
    assert list(batches) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_pipeline_without_a_gpu_is_a_failure_in_one_sentence():
    request = dataclasses.replace(make_request(data="digits"), device=torch.device("cuda", 0))
    with pytest.raises(Failure, match=r"could not build its pipeline: .*CUDA is not available") as caught:
        data.make(request).open(1)
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(Mistake, match="global batch of 1500 is larger than the training part, 1438 images"):
        open_digits(global_batch=1500)
