"""Proposals: boxes in which something may be, whatever finds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..data.images import open_upright

Photo = Path | bytes | Image.Image
"""A picture file, its bytes, or a picture already open and upright."""

LONGEST_SIDE = 1333  # pixels; detectors scale down to less


@dataclass(frozen=True)
class Proposals:
    """Boxes of one picture in which something may be.

    Attributes:
        boxes: (x0, y0, x1, y1) in fractions of the picture.
        score: How sure it is that there is something, 0 to 1.
        class_score: How sure the proposer itself is of each name. None if it knows no names.
    """

    boxes: Float[Tensor, "R 4"]
    score: Float[Tensor, " R"]
    class_score: Float[Tensor, "R C"] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, rows: Tensor) -> "Proposals":
        """Return chosen rows, in their order."""
        scores = None if self.class_score is None else self.class_score[rows]
        return Proposals(self.boxes[rows], self.score[rows], scores)


@runtime_checkable
class Proposer(Protocol):
    """Interface of what proposes boxes: a frozen dataclass that survives pickling before its first call."""

    def propose(self, pictures: Sequence[Photo], names: Sequence[Sequence[str]]) -> list[Proposals]:
        """Return the proposals of each picture.

        Args:
            pictures: Any number.
            names: What is looked for in each. Proposers that know no names leave them alone.

        Raises:
            ValueError: If a picture is broken, or the proposer knows nothing of it.
        """


def opened(picture: Photo, longest_side: int = LONGEST_SIDE) -> Image.Image:
    """Return a picture as RGB, upright, scaled down to what a detector reads."""
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    return open_upright(picture, longest_side)[0]


def no_proposals(names: int | None = None) -> Proposals:
    """Return the proposals of a picture in which there is nothing."""
    return Proposals(torch.zeros(0, 4), torch.zeros(0), None if names is None else torch.zeros(0, names))


def joined(parts: Sequence[Proposals]) -> Proposals:
    """Return the proposals of several calls as one; all of them know names, or none does."""
    boxes, score = torch.cat([part.boxes for part in parts]), torch.cat([part.score for part in parts])
    class_scores = [part.class_score for part in parts if part.class_score is not None]
    return Proposals(boxes, score, torch.cat(class_scores) if class_scores else None)
