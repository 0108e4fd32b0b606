"""A file that cannot be decoded is named before training starts, with the reason."""

from __future__ import annotations

import shutil

import pytest

from hpcdl.errors import Mistake
from hpcdl.worker import data
from hpcdl.worker.data.verify import verify
from tests.data_requests import NEEDS_DALI, make_request
from tests.photographs import make_tree

pytestmark = NEEDS_DALI


@pytest.fixture
def tiles(tmp_path):
    return make_tree(tmp_path, classes=2, per_class=20, size=48)


def list_files(root):
    return sorted(str(file) for file in root.rglob("*.*g"))


def test_sound_files_pass_and_progress_reaches_the_end(tiles):
    seen = []
    files = list_files(tiles)
    verify(files, threads=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(16, 40), (32, 40), (40, 40)]


def cut(file):
    file.write_bytes(file.read_bytes()[:-200])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "suffix", "reason"),
    [
        (cut, ".jpg", "it is cut off: its end is missing"),
        (cut, ".png", "it is cut off: its end is missing"),
        (flip, ".png", "it is damaged inside"),
        (lambda file: file.write_bytes(b""), ".jpg", "it holds no bytes at all"),
        (lambda file: file.write_text("no image"), ".jpg", "it is not a JPEG or PNG image"),
        (lambda file: file.unlink(), ".jpg", r"it cannot be read \(No such file or directory\)"),
    ],
    ids=["cut jpeg", "cut png", "flipped png", "empty", "text", "gone"],
)
def test_a_broken_file_is_named_with_the_reason(tmp_path, capfd, spoil, suffix, reason):
    make_tree(tmp_path, classes=2, per_class=20, size=48, suffix=suffix)
    files = list_files(tmp_path)
    broken = tmp_path / files[21]
    spoil(broken)
    with pytest.raises(Mistake, match=reason) as caught:
        verify(files, threads=1)
    assert str(caught.value).startswith(f"{broken}: ")
    assert capfd.readouterr() == ("", "")


def test_the_first_of_several_broken_files_is_named(tiles):
    files = list_files(tiles)
    for index in (9, 5, 30):
        (tiles / files[index]).write_bytes(b"")
    with pytest.raises(Mistake) as caught:
        verify(files, threads=1)
    assert str(caught.value).startswith(files[5])


def test_each_rank_verifies_its_share_of_both_parts(tiles):
    def sources():
        for rank in range(3):
            yield data.make(
                make_request(data="folder", data_dir=str(tiles), rank=rank, world_size=3, global_batch=3)
            )

    verified = [source.verify() for source in sources()]
    assert [part.files for part in verified] == [13, 13, 14]
    assert {part.digest for part in verified} == {source.listing_digest() for source in sources()}
    (tiles / list_files(tiles / "val")[-1]).write_bytes(b"")
    broken_for = [rank for rank, source in enumerate(sources()) if _refuses(source)]
    assert broken_for == [2]


def _refuses(source):
    try:
        source.verify()
    except Mistake:
        return True
    return False


def test_an_image_under_another_extension_is_an_image(tiles):
    """ImageNet itself has a PNG that is called .JPEG."""
    source = make_tree(tiles.parent / "png", classes=2, per_class=2, size=48, suffix=".png")
    png = next(source.rglob("*.png"))
    jpg = next(tiles.rglob("*.jpg"))
    shutil.copy(png, jpg)
    verify([str(jpg)], threads=1)
