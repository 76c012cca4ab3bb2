"""ShareGPT4V's JSON: a picture and a conversation whose answer describes it. Holds a long caption.

Long-CLIP and FineLIP train on it (share-captioner_coco_lcs_sam_1246k_1107.json).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int

from ...types import Sample
from .json_list import index_items, read_item, write_items
from .paths import replacing
from .pictures import place
from .rows import items, refuse_loss, text

QUESTION = "<image>\nDescribe this image in detail."


@dataclass(frozen=True)
class ShareGpt4v:
    """Samples of a file in ShareGPT4V's layout. The second turn of each conversation is the long caption.

    Only where each item lies is kept in memory, 16 bytes a sample.

    Attributes:
        path: The file: a list of {"id", "image", "conversations": [{"value"}, {"value": long caption}]}. An item
            without "id" goes by its "image".
        images: The folder that image paths start from. None: the file's own.
    """

    path: Path
    images: Path | None = None
    holds: ClassVar[tuple[str, ...]] = ("long_caption",)

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in file order.

        Raises:
            ValueError: If an item is no sample. The message names file and item.
        """
        return map(self.sample, range(len(self)))

    def sample(self, index: int) -> Sample:
        """The sample of an item.

        Raises:
            ValueError: If the item is no sample. The message names file and item.
        """
        start, end = self._spans[index].tolist()
        try:
            item = read_item(self.path, start, end)
            image = text(item, "image")
            turns = items(item, "conversations")
            if len(turns) < 2:
                raise ValueError("'conversations' needs a second turn, the caption")
            identity = text(item, "id", image)
            return Sample(identity, self._root / image, long_caption=text(turns[1], "value"))
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path}: item {index}: not a sample: {error}") from error

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples, and pictures that are bytes to the folder of images. Returns their number.

        Raises:
            ValueError: If a sample has more than a long caption.
        """
        with replacing(self.path) as partial:
            return write_items(partial, map(self._item, count(), samples))

    def _item(self, number: int, sample: Sample) -> dict[str, Any]:
        refuse_loss(sample, self.holds, "ShareGPT4V")
        turns = [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": sample.long_caption}]
        image = place(sample, self._root, f"images/{self.path.stem}/{number:08d}")
        return {"id": sample.id, "image": image, "conversations": turns}

    @property
    def _root(self) -> Path:
        return self.images or self.path.parent

    @cached_property
    def _spans(self) -> Int[np.ndarray, "n 2"]:
        return index_items(self.path)
