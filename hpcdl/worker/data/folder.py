"""JPEG and PNG files in the ImageNet layout, decoded by DALI: on the CPU, or on the GPU where there is one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.errors import Mistake
from hpcdl.worker.data.indexed import Indexed
from hpcdl.worker.data.pipeline import encode_paths, normalise
from hpcdl.worker.data.source import Verified
from hpcdl.worker.data.split import share
from hpcdl.worker.data.tree import read_tree
from hpcdl.worker.data.verify import digest_listing, verify

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpcdl.worker.data.pipeline import Dali, Items
    from hpcdl.worker.data.source import Progress, Request

# Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842, section 6: 8 % to 100 % of the area, 3:4 to 4:3.
CROP_AREA = [0.08, 1.0]
CROP_ASPECT = [3 / 4, 4 / 3]
# Caffe's AlexNet (227), OverFeat (221, 231) and torchvision's (224) are all cut from a shorter side of 256.
SHORTER_SIDE = 256
SIDES_CUT_FROM_IT = range(192, SHORTER_SIDE + 1)


class Folder(Indexed):
    """A tree of images. Training takes a random part of each and mirrors half of them; validation the centre.

    Raises:
        Mistake: What is wrong with the folder, by path; or more ranks or a larger batch than images.
    """

    name = "folder"

    def __init__(self, request: Request) -> None:
        if request.training.data_dir is None:
            raise Mistake("--data folder needs a folder.", do="Name it: --data DIR.")
        self._tree = read_tree(Path(request.training.data_dir), request.training.seed)
        self.classes = len(self._tree.classes)
        super().__init__(request, self._tree.labels, self._tree.training, self._tree.held_out)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Folder names; a label is the place in here."""
        return self._tree.classes

    @cached_property
    def _digest(self) -> str:
        return digest_listing(self._tree.root, self._tree.files)

    def listing_digest(self) -> str | None:
        """Names, sizes and times of change of all files, as one digest."""
        return self._digest

    def verify(self, progress: Progress | None = None) -> Verified | None:
        """Decode this rank's share of all files; see `hpcdl.worker.data.verify`."""
        mine = share(len(self._tree.files), self._request.rank, self._request.world_size)
        files = [self._path(index) for index in mine]
        verify(files, self._request.threads, progress)
        return Verified(files=len(files), digest=self._digest)

    def _path(self, index: int) -> str:
        return f"{self._tree.root}/{self._tree.files[index]}"

    def _pick(self, indices: NDArray[np.int64]) -> Items:
        return encode_paths([self._path(index) for index in indices])

    def _lay_out(self, dali: Dali, items: Any, *, augment: bool) -> Any:
        encoded = dali.fn.io.file.read(items)
        return self._cut_randomly(dali, encoded) if augment else self._cut_centre(dali, encoded)

    def _cut_randomly(self, dali: Dali, encoded: Any) -> Any:
        """A random part, decoded alone, at the size of the input, mirrored or not."""
        part = dali.fn.decoders.image_random_crop(
            encoded, random_area=CROP_AREA, random_aspect_ratio=CROP_ASPECT, **self._decoding(dali)
        )
        images = dali.fn.resize(part, size=self._side)
        return normalise(dali, images, self._request, mirror=dali.fn.random.coin_flip(probability=0.5))

    def _cut_centre(self, dali: Dali, encoded: Any) -> Any:
        """The centre of the image at the published size."""
        whole = dali.fn.decoders.image(encoded, **self._decoding(dali))
        images = dali.fn.resize(whole, resize_shorter=choose_shorter_side(max(self._side)))
        return normalise(dali, images, self._request, crop=self._side)

    @property
    def _side(self) -> list[int]:
        return list(self._request.network.input_shape[1:])

    def _decoding(self, dali: Dali) -> dict[str, Any]:
        grey = self._request.network.input_shape[0] == 1
        return {
            "device": "mixed" if self._request.device.type == "cuda" else "cpu",
            "output_type": dali.types.GRAY if grey else dali.types.RGB,
        }


def choose_shorter_side(side: int) -> int:
    """Pixels to which the shorter side is resized before a square of `side` is cut from the centre.

    256 for the networks of ImageNet, as published; in the proportion of 256 to 224 for other sizes.
    """
    return SHORTER_SIDE if side in SIDES_CUT_FROM_IT else round(side * SHORTER_SIDE / 224)
