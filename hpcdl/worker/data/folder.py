"""JPEG and PNG files in the ImageNet layout, decoded by DALI: on the CPU, or on the GPU where there is one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcdl.datasets.split import share
from hpcdl.datasets.tree import read_tree
from hpcdl.errors import Mistake
from hpcdl.worker.data.cutting import Encoded, check_augmentation, is_random, lay_out
from hpcdl.worker.data.indexed import Indexed
from hpcdl.worker.data.pipeline import encode_paths
from hpcdl.worker.data.source import Verified
from hpcdl.worker.data.verify import digest_listing, verify

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpcdl.worker.data.pipeline import Dali, Items
    from hpcdl.worker.data.source import Progress, Request


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
        check_augmentation(request, None)
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

    @property
    def _is_random(self) -> bool:
        return is_random(self._request.training.augmentation)

    def _path(self, index: int) -> str:
        return f"{self._tree.root}/{self._tree.files[index]}"

    def _pick(self, indices: NDArray[np.int64]) -> Items:
        return encode_paths([self._path(index) for index in indices])

    def _lay_out(self, dali: Dali, items: Any, drawn: Any, *, augment: bool) -> Any:
        images = Encoded(dali, dali.fn.io.file.read(items), self._request)
        return lay_out(dali, images, drawn, self._request, augment=augment)
