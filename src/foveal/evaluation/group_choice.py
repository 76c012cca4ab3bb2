"""Two images and two captions of which each fits one: Winoground's way, and MMVP's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..types import Kind, Sample
from .bootstrap import mean_of_means
from .encoded import Encoded, Needs
from .result import Metric, Queries, Result, measure
from .scoring import some_pairs

Score = Literal["text", "image", "group"]


@dataclass(frozen=True)
class GroupChoice:
    """Two images, two captions (arXiv:2204.03162). Chance is 25, 25 and 16.7 %; a tie is wrong.

    "text": each image picks its own caption. "image": each caption picks its own image, which is MMVP's question
    (arXiv:2401.06209). "group": both. The samples of a group stand side by side: their ids are `group/0` and `group/1`,
    and each has its own caption first.

    Attributes:
        scores: Which of the three are given.
        kinds: The kind of a group, by its id.
        kind: How captions are encoded.
        similarity: How an image and a caption are compared: one of the encoder's scores.
    """

    scores: tuple[Score, ...] = ("text", "image", "group")
    kinds: tuple[tuple[str, str], ...] = ()
    kind: Kind = "caption"
    similarity: str = "global"

    @property
    def name(self) -> str:
        """Of the task."""
        return "group_choice"

    @property
    def unit(self) -> str:
        """Of two images and two captions."""
        return "groups"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many groups are whole."""
        return len(_groups([sample.id for sample in samples]))

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """Both captions."""
        return Needs({self.kind: [sample.captions[0] for sample in samples]}, similarity=self.similarity)

    def __call__(self, encoded: Encoded) -> Result:
        """Compare both captions of each group with both of its images."""
        groups = _groups([sample.id for sample in encoded.samples])
        row = encoded.rows((sample.captions[0] for sample in encoded.samples), self.kind)
        place = torch.tensor(list(groups.values()))  # (G, 2)
        caption, image = row[place], encoded.picture[place]

        def score(text_side: int, image_side: int) -> Float[Tensor, " G"]:
            return some_pairs(encoded, self.kind, caption[:, text_side], image[:, image_side], self.similarity)

        matching = score(0, 0), score(1, 1)
        right = outcomes(matching[0], matching[1], score(0, 1), score(1, 0))
        group = torch.arange(len(groups))
        metrics: dict[str, Metric] = {}
        for name in self.scores:
            metrics[name] = measure(right[name], group)
        main = self.scores[-1]
        return Result(
            metrics=metrics | self._by_kind(right[main], list(groups)),
            queries={name: Queries(right[name].long(), group) for name in self.scores},
            notes=("chance 25.0 (group 16.7); a tie is wrong",),
        )

    def _by_kind(self, right: Bool[Tensor, " G"], groups: list[str]) -> dict[str, Metric]:
        """The main score of each kind, and the mean over kinds."""
        kinds = dict(self.kinds)
        number: dict[str, int] = {}
        kind = torch.tensor([number.setdefault(kinds.get(group, ""), len(number)) for group in groups])
        if len(number) < 2:
            return {}
        group = torch.arange(len(groups))
        metrics = {
            name or "other": measure(right[kind == label], group[kind == label]) for name, label in number.items()
        }
        return metrics | {"mean": measure(right, group, mean_of_means(kind))}


def outcomes(
    own0: Float[Tensor, " G"], own1: Float[Tensor, " G"], crossed01: Float[Tensor, " G"], crossed10: Float[Tensor, " G"]
) -> dict[str, Bool[Tensor, " G"]]:
    """Return what is right of each group.

    Args:
        own0: Similarity of caption 0 and image 0.
        own1: Of caption 1 and image 1.
        crossed01: Of caption 0 and image 1.
        crossed10: Of caption 1 and image 0.
    """
    text = (own0 > crossed10) & (own1 > crossed01)
    image = (own0 > crossed01) & (own1 > crossed10)
    return {"text": text, "image": image, "group": text & image}


def _groups(ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Places of both samples of each whole group."""
    place = {name: number for number, name in enumerate(ids)}
    names = dict.fromkeys(name.rpartition("/")[0] for name in ids)
    whole = [name for name in names if f"{name}/0" in place and f"{name}/1" in place]
    return {name: (place[f"{name}/0"], place[f"{name}/1"]) for name in whole}
