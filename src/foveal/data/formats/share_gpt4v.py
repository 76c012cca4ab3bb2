"""ShareGPT4V's JSON: a picture and a conversation whose answer describes it. Holds a long caption.

Long-CLIP and FineLIP train on it (share-captioner_coco_lcs_sam_1246k_1107.json).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from ...types import Sample
from ...writing import replacing
from .json_list import write_items
from .json_rows import ItemFile
from .pictures import place
from .rows import items, refuse_loss, text

QUESTION = "<image>\nDescribe this image in detail."


@dataclass(frozen=True)
class ShareGpt4v(ItemFile):
    """Samples of a file in ShareGPT4V's layout. The second turn of each conversation is the long caption.

    Attributes:
        path: The file: a list of {"id", "image", "conversations": [{"value"}, {"value": long caption}]}. An item
            without "id" goes by its "image".
        images: The folder that image paths start from. None: the file's own.
    """

    path: Path
    images: Path | None = None
    holds: ClassVar[tuple[str, ...]] = ("long_caption",)

    def parse(self, content: bytes) -> Mapping[str, Any]:
        """Return an item as a row.

        Raises:
            ValueError: If it is no conversation about an image.
        """
        item = super().parse(content)
        try:
            turns = items(item, "conversations")
            if len(turns) < 2 or not isinstance(turns[1], Mapping):
                raise ValueError("'conversations' needs a second turn, the caption")
            caption = text(turns[1], "value", "")
            return {"id": item.get("id"), "image": text(item, "image"), "long_caption": caption}
        except TypeError as error:
            raise ValueError(str(error)) from error

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples, and pictures that are bytes to the folder of images. Returns their number.

        Raises:
            ValueError: If a sample has more than a long caption.
        """
        with replacing(self.path) as partial:
            return write_items(partial, map(self._item, count(), samples))

    @property
    def root(self) -> Path:
        """The folder that image paths start from."""
        return self.images or self.path.parent

    def _item(self, number: int, sample: Sample) -> dict[str, Any]:
        refuse_loss(sample, self.holds, "ShareGPT4V")
        turns = [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": sample.long_caption}]
        image = place(sample, self.root, f"images/{self.path.stem}/{number:08d}")
        return {"id": sample.id, "image": image, "conversations": turns}
