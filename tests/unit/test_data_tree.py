"""Listing a folder of images: layouts, parts, and each way in which a folder can be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from hpcdl.datasets.origin import open_origin
from hpcdl.datasets.tree import read_tree
from hpcdl.errors import Mistake
from hpcdl.worker.data.verify import digest_listing


def touch(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return root


def names(tree, indices):
    return [tree.files[index] for index in indices]


def test_train_and_val_are_the_two_parts(tmp_path):
    tree = read_tree(touch(tmp_path, "train/b/2.jpg", "train/a/1.JPEG", "val/a/3.png", "val/b/4.PNG"), seed=1)
    assert tree.classes == ("a", "b")
    assert names(tree, tree.training) == ["train/a/1.JPEG", "train/b/2.jpg"]
    assert names(tree, tree.held_out) == ["val/a/3.png", "val/b/4.PNG"]
    assert tree.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("below", ["", "train/"])
def test_a_tenth_is_held_out_where_there_is_no_val(tmp_path, below):
    touch(tmp_path, *(f"{below}{name}/{i}.jpg" for name in "ab" for i in range(30)))
    tree = read_tree(tmp_path, seed=1)
    assert len(tree.training) == 54
    assert np.bincount(tree.labels[tree.held_out]).tolist() == [3, 3]
    assert not set(tree.training) & set(tree.held_out)
    assert read_tree(tmp_path, seed=1).held_out.tolist() == tree.held_out.tolist()
    assert read_tree(tmp_path, seed=2).held_out.tolist() != tree.held_out.tolist()


def test_a_class_may_be_called_train(tmp_path):
    tree = read_tree(touch(tmp_path, "train/1.jpg", "ship/1.jpg"), seed=1)
    assert tree.classes == ("ship", "train")


def test_a_class_may_be_called_val(tmp_path):
    touch(tmp_path, "cat/1.jpg", "val/2.jpg")
    assert read_tree(tmp_path, seed=1).classes == ("cat", "val")
    assert list(open_origin(tmp_path).parts) == ["train"]


def test_what_is_hidden_or_no_image_is_passed_over(tmp_path):
    touch(
        tmp_path,
        "a/1.jpg",
        "a/._1.jpg",
        "a/.x/2.jpg",
        "a/Thumbs.db",
        "a/list.txt",
        ".git/b/3.jpg",
        "readme.md",
    )
    assert read_tree(tmp_path, seed=1).files == ("a/1.jpg",)


def test_folders_in_a_class_and_linked_classes_count(tmp_path):
    elsewhere = touch(tmp_path / "elsewhere", "5.jpg")
    root = touch(tmp_path / "root", "a/images/2.jpg", "a/1.jpg")
    (root / "b").symlink_to(elsewhere)
    assert read_tree(root, seed=1).files == ("a/1.jpg", "a/images/2.jpg", "b/5.jpg")


def test_names_may_be_anything(tmp_path):
    odd = 'it\'s a "$(class)"\n/ü 1.jpg'
    assert read_tree(touch(tmp_path, odd), seed=1).files == (odd,)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "there are no class folders in it"),
        (("1.jpg", "2.jpg"), "there are 2 images but no class folders in it"),
        (("a/1.jpg", "b/notes.txt"), "/b: this class folder holds no images"),
        (("train/a/1.jpg", "val/notes.txt"), "/val: there are no class folders in it"),
        (("train/a/1.jpg", "val/b/1.jpg"), r"only in \S+/train: a; only in \S+/val: b"),
        (("train/notes.txt",), "/train: there are no class folders in it"),
        (("val/a/1.jpg", "val/b/1.jpg"), "there is a part val, and no part train"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(tmp_path, files, said):
    touch(tmp_path, *files)
    with pytest.raises(Mistake, match=said) as caught:
        read_tree(tmp_path, seed=1)
    assert str(tmp_path) in str(caught.value)
    assert "DIR/train/<class>" in caught.value.do


def test_a_folder_that_is_not_there_or_is_a_file_is_named(tmp_path):
    with pytest.raises(Mistake, match="nowhere: there is no such folder"):
        read_tree(tmp_path / "nowhere", seed=1)
    with pytest.raises(Mistake, match=r"1\.jpg: this is a file, not a folder"):
        read_tree(touch(tmp_path, "1.jpg") / "1.jpg", seed=1)


def test_the_digest_of_a_listing_follows_names_sizes_and_times(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/2.jpg")
    files = ("a/1.jpg", "a/2.jpg")
    before = digest_listing(tmp_path, files)
    assert digest_listing(tmp_path, files) == before
    assert digest_listing(tmp_path, files[:1]) != before
    (tmp_path / "a/1.jpg").write_bytes(b"xy")
    assert digest_listing(tmp_path, files) != before
    (tmp_path / "a/1.jpg").unlink()
    with pytest.raises(Mistake, match=r"a/1\.jpg: cannot be looked at"):
        digest_listing(tmp_path, files)
