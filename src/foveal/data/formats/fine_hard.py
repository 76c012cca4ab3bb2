"""FineHARD's JSON: long and short captions, boxes with phrases, ten hard negatives each. FG-CLIP's second stage.

The layout is that of arXiv:2505.05071's data set; 12 million items in many files, so it is read file by file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...types import Region, Sample
from ...writing import replacing
from .json_list import parsed_object, scan_items, write_items
from .paths import expand
from .pictures import place
from .rows import picture_of, refuse_loss, sample_from_row, text


@dataclass(frozen=True)
class FineHard:
    """Samples of files in FineHARD's layout.

    An item is {"f_path", "caption" (long), "short_caption", "bbox_info"}; each box there is {"bbox" (fractions,
    a fifth value is a detector's and passed over), "short_expr", "long_expr", "flag_short_neg",
    "short_expr_negs"}. An item without "id" goes by its "f_path".

    Attributes:
        path: A folder of `*.json`, one file, or a pattern.
        images: The folder that image paths start from. None: the files' own.
        phrase: Which of a box's two texts to take. The hard negatives are those of "short_expr" and come with it
            alone.
        prefix: Cut out of "f_path", as the authors' loader does.
    """

    path: Path
    images: Path | None = None
    phrase: Literal["short_expr", "long_expr"] = "short_expr"
    prefix: str = "grit-20m/data-12m/"
    holds: ClassVar[tuple[str, ...]] = ("captions", "long_caption", "regions", "negatives")

    @property
    def root(self) -> Path:
        """The folder that image paths start from."""
        return self.images or (self.path if self.path.is_dir() else self.path.parent)

    def shards(self) -> tuple["FineHard", ...]:
        """Return the files, each by itself."""
        files = expand(self.path / "*.json" if self.path.is_dir() else self.path)
        return tuple(replace(self, path=file) for file in files)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in file order.

        Raises:
            ValueError: If an item is no sample. The message names file and item.
        """
        return (record() for record in self.records())

    def records(self) -> Iterator[Callable[[], Sample]]:
        """Yield the items, read but not yet checked; calling one gives the sample."""
        for shard in self.shards():
            for number, (_, item) in enumerate(scan_items(shard.path)):
                yield partial(self._sample, shard.path, number, item)

    def write(self, samples: Iterable[Sample]) -> int:
        """Write samples to the file `path`, and pictures that are bytes to the folder of images.

        Returns their number.

        Raises:
            ValueError: If a sample has no or several captions, or hard negatives of captions or with a kind.
        """
        with replacing(self.path) as unfinished:
            return write_items(unfinished, map(self._item, count(), samples))

    def _sample(self, path: Path, number: int, encoded: bytes) -> Sample:
        """Return the sample of one item."""
        try:
            row = self._row(parsed_object(encoded))
            image = str(picture_of(row))
            return sample_from_row(row, self.root / image.replace(self.prefix, ""), id=image)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: item {number}: not a sample: {error}") from error

    def _row(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Convert an item to the row of a sample."""
        boxes = item.get("bbox_info")
        return {
            "id": item.get("id"),
            "image": text(item, "f_path"),
            "captions": item.get("short_caption"),
            "long_caption": item.get("caption"),
            "regions": list(map(self._region, boxes)) if isinstance(boxes, list) else boxes,
        }

    def _region(self, box: Any) -> Any:
        """Convert one box to the row of a region. Its hard negatives count where the flag says so."""
        if not isinstance(box, dict):
            return box
        corners, hard_negatives = box.get("bbox"), None
        if box.get("flag_short_neg", 0) == 1 and self.phrase == "short_expr":
            hard_negatives = box.get("short_expr_negs")
        return {
            "box": corners[:4] if isinstance(corners, list) else corners,
            "phrase": box.get(self.phrase),
            "negatives": list(hard_negatives.values()) if isinstance(hard_negatives, dict) else hard_negatives,
        }

    def _item(self, number: int, sample: Sample) -> dict[str, Any]:
        """Convert one sample to FineHARD's layout."""
        refuse_loss(sample, self.holds, "FineHARD")
        if len(sample.captions) > 1:
            raise ValueError(f"FineHARD holds one short caption; sample '{sample.id}' has {len(sample.captions)}.")
        return {
            "id": sample.id,
            "f_path": place(sample, self.root, f"images/{self.path.stem}/{number:08d}"),
            "caption": sample.long_caption,
            "short_caption": "".join(sample.captions),
            "bbox_info": [_box_info(region, sample.id) for region in sample.regions],
        }


def _box_info(region: Region, identity: str) -> dict[str, Any]:
    if any(negative.kind for negative in region.negatives):
        raise ValueError(f"FineHARD cannot hold the kinds of negatives of sample '{identity}'. Empty them first.")
    return {
        "bbox": list(region.box),
        "short_expr": region.phrase,
        "long_expr": region.phrase,
        "flag_short_neg": int(bool(region.negatives)),
        "short_expr_negs": {str(place): negative.text for place, negative in enumerate(region.negatives)},
    }
