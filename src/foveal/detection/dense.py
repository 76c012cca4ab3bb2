"""Proposals of an encoder's own dense features: no detector, no download."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..encoder import Encoder
from ..encoder.load import load_once
from ..models.lattice import window_lattice
from .proposals import Photo, Proposals, no_proposals

BACKGROUND = (
    *("a photo", "a picture", "something", "background", "a scene", "wall"),
    *("floor", "ground", "sky", "grass", "street", "room"),
)
"""What a part of a picture may show beside the names that are looked for."""
_FINEST = 32  # cells a side of the map that boxes are looked for on: work grows with the cube


@dataclass(frozen=True)
class Dense:
    """Boxes in which an encoder's patches fit a name better than those outside do.

    Candidates are windows of many sizes, and for each name the rectangle in which its similarity, less that of the best
    other text, sums up to most. A box counts for a name by how much more similar its patches are than the rest of the
    picture's, times the root of its share of the picture: evidence grows with size as a mean's does.

    Finds what is large or stands alone; of small things the map of most encoders is too coarse.

    Attributes:
        encoder: Whose features: an encoder, or its name for `foveal.load`.
        background: Texts that compete with the names for every patch.
        level: Where between least (0) and greatest (1) a cell begins to count for a rectangle.
        contrast: How much of the best other text's similarity is taken away.
        per_name: Boxes kept of each name.
        device: Where an encoder that is loaded by name runs.
    """

    encoder: Encoder | str = "starter"
    background: tuple[str, ...] = BACKGROUND
    level: float = 0.45
    contrast: float = 0.5
    per_name: int = 20
    device: str | None = None

    def propose(self, pictures: Sequence[Photo], names: Sequence[Sequence[str]]) -> list[Proposals]:
        """Return the best boxes of all names, with a score for each name.

        Raises:
            ValueError: If a picture is broken.
        """
        encoder = load_once(self.encoder, self.device) if isinstance(self.encoder, str) else self.encoder
        texts = list(dict.fromkeys([text for of_picture in names for text in of_picture] + list(self.background)))
        embedded, row = encoder.encode_texts(texts, "phrase"), {text: row for row, text in enumerate(texts)}
        proposals = []
        for patches, of_picture in zip(encoder.encode_patches(pictures), names, strict=True):
            both = dict.fromkeys([*of_picture, *self.background])
            proposals.append(self._propose(patches @ embedded[[row[text] for text in both]].T, len(of_picture)))
        return proposals

    def _propose(self, similarity: Float[Tensor, "Y X _texts"], names: int) -> Proposals:
        if not names:
            return no_proposals(0)
        rows, columns = similarity.shape[:2]
        windows, boxes = window_lattice(rows, columns)
        rivals = _rivals(similarity)
        members, places = [windows], [boxes]
        for name in range(names):
            box = heaviest_box(similarity[..., name] - self.contrast * rivals[..., name], self.level)
            members.append(_cells(box, rows, columns))
            places.append(torch.tensor([_fractions(box, rows, columns)]))
        score = _evidence(torch.cat(members), similarity[..., :names].flatten(0, 1))
        best = score.topk(min(self.per_name, len(score)), dim=0).indices.unique()
        return Proposals(torch.cat(places)[best], score[best].amax(dim=1), score[best])


def _evidence(members: Float[Tensor, "R P"], similarity: Float[Tensor, "P C"]) -> Float[Tensor, "R C"]:
    """Return how much more similar the cells of each box are than those outside, weighed by the root of its share."""
    sums, sizes = members @ similarity, members.sum(dim=1, keepdim=True)
    outside = (similarity.sum(dim=0) - sums) / (len(similarity) - sizes).clamp(min=1)
    return (sums / sizes - outside).clamp(min=0, max=1) * (sizes / len(similarity)).sqrt()


def _rivals(similarity: Float[Tensor, "Y X C"]) -> Float[Tensor, "Y X C"]:
    """Return the greatest similarity of any other text in each cell; nothing rivals a text alone."""
    if similarity.shape[-1] < 2:
        return torch.zeros_like(similarity)
    best, second = similarity.topk(2, dim=-1).values.split(1, dim=-1)
    return torch.where(similarity == best, second, best)


def _cells(box: tuple[int, int, int, int], rows: int, columns: int) -> Float[Tensor, "1 P"]:
    x0, y0, x1, y1 = box
    cells = torch.zeros(1, rows, columns)
    cells[:, y0:y1, x0:x1] = 1
    return cells.flatten(1)


def _fractions(box: tuple[int, int, int, int], rows: int, columns: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0 / columns, y0 / rows, x1 / columns, y1 / rows


def heaviest_box(similarity: Float[Tensor, "Y X"], level: float) -> tuple[int, int, int, int]:
    """Return the rectangle of the greatest sum, counted from a level between the least (0) and greatest (1) value.

    Args:
        similarity: A map of any size; what is finer than 32 cells a side is averaged.
        level: Cells below it weigh against a rectangle that holds them.

    Returns:
        (x0, y0, x1, y1) in cells, ends excluded. The whole map if all are equal.
    """
    step = -(-max(similarity.shape) // _FINEST)
    rows, columns = similarity.shape
    if step > 1:
        similarity = F.avg_pool2d(similarity[None, None], step, ceil_mode=True)[0, 0]
    values = similarity.double().numpy()
    least, greatest = values.min(), values.max()
    if greatest - least < 1e-9:
        return 0, 0, columns, rows
    x0, y0, x1, y1 = _heaviest(values - (least + level * (greatest - least)))
    return x0 * step, y0 * step, min(x1 * step, columns), min(y1 * step, rows)


def _heaviest(values: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Return the rectangle of the greatest sum: of every pair of rows the best run of columns."""
    height, width = values.shape
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = values.cumsum(0).cumsum(1)
    top, bottom = np.triu_indices(height + 1, 1)
    bands = sums[bottom] - sums[top]  # (pairs of rows, width + 1): of everything left of a column
    lowest = np.minimum.accumulate(bands, axis=1)
    runs = bands[:, 1:] - lowest[:, :-1]
    pair, last = np.unravel_index(runs.argmax(), runs.shape)
    first = int(bands[pair, : last + 1].argmin())
    return first, int(top[pair]), int(last) + 1, int(bottom[pair])
