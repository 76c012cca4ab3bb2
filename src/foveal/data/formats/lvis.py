"""LVIS's JSON: COCO's photos with boxes of 1,203 categories. Holds regions."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ...types import Sample
from .coco import Coco


@dataclass(frozen=True)
class Lvis(Coco):
    """Samples of an LVIS file (https://www.lvisdataset.org): COCO's layout but for two things.

    An image is named by "coco_url", whose last two parts are sought below `images` (train2017/000000391895.jpg,
    else the name alone), and underscores in a category's name stand for spaces.
    """

    holds: ClassVar[tuple[str, ...]] = ("regions",)

    def _phrase(self, name: str) -> str:
        return name.replace("_", " ")

    def _name(self, phrase: str) -> str:
        if "_" in phrase:
            raise ValueError(f"LVIS cannot hold the underscore of phrase '{phrase}'. Write JSON Lines or COCO.")
        return phrase.replace(" ", "_")

    def _image(self, sample: Sample, number: int) -> dict[str, Any]:
        return {**super()._image(sample, number), "neg_category_ids": [], "not_exhaustive_category_ids": []}
