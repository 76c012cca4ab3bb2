"""What boxes show: a proposer's confidence joined with an encoder's opinion of every box."""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..models.boxes import class_nms, nms
from .proposals import Proposals

Rule = Literal["box", "class"]


def fused(score: Float[Tensor, "R _c"], likely: Float[Tensor, "R C"], power: float = 0.5) -> Float[Tensor, "R C"]:
    """Return score^(1 - power) * likely^power: the geometric mean at 0.5, FG-CLIP 2's (arXiv:2510.10921, appendix B).

    Args:
        score: The proposer's, one for each box or one for each box and name.
        likely: The encoder's probability of each name.
        power: Share of the encoder. 0: the proposer alone, 1: the encoder alone.

    Returns:
        The score itself where both agree, for any power.
    """
    return score.clamp(0, 1) ** (1 - power) * likely**power


@dataclass(frozen=True)
class Rescoring:
    """The way from proposals to labelled boxes. FG-CLIP 2 does not say which of two readings its formula has.

    Attributes:
        rule: "box": a box has one score of the proposer, and the encoder alone chooses among names, as "categories with
            initially low detection scores can still be correctly selected". "class": the proposer's score for each
            name counts; names that it gives none have no chance.
        scale: Inverse temperature of the encoder's softmax over names. None: the model's own.
        power: Share of the encoder in the geometric mean.
        labels: Names a box may have, its best ones. None: one by the rule "box", all by the rule "class".
        before: Intersection over union beyond which the worse of two proposals goes, whatever they show.
        after: Likewise of two boxes of one name.
        threshold: Least score.
        top: Boxes kept of a picture.
    """

    rule: Rule = "box"
    scale: float | None = None
    power: float = 0.5
    labels: int | None = None
    before: float = 0.7
    after: float = 0.5
    threshold: float = 0.0
    top: int = 100

    def __str__(self) -> str:
        names = {"scale": "the model's", "labels": "1" if self.rule == "box" else "all"}
        values = {name: names.get(name, "") if value is None else value for name, value in asdict(self).items()}
        return " ".join(f"{name}={value}" for name, value in values.items())

    def thinned(self, proposals: Proposals) -> Proposals:
        """Return proposals without those that a better one covers."""
        return proposals.take(nms(proposals.boxes, proposals.score, self.before))

    def __call__(
        self, proposals: Proposals, likely: Float[Tensor, "R C"]
    ) -> tuple[Float[Tensor, "_n 4"], Float[Tensor, " _n"], Tensor]:
        """Return boxes, scores and labels, surest first.

        Args:
            proposals: See `thinned`.
            likely: The encoder's probability of each name.

        Raises:
            ValueError: If the rule is "class" and the proposer gives no scores for names.
        """
        score = proposals.score[:, None]
        if self.rule == "class":
            if proposals.class_score is None:
                raise ValueError('rule="class" needs a proposer with scores for names. Use rule="box".')
            score = proposals.class_score
        labels = self.labels or (1 if self.rule == "box" else likely.shape[1])
        best = fused(score, likely, self.power).topk(min(labels, likely.shape[1]), dim=1)
        boxes = proposals.boxes[:, None].expand(-1, best.values.shape[1], -1).flatten(0, 1)
        scores, label = best.values.flatten(), best.indices.flatten()
        rows = (scores >= self.threshold).nonzero()[:, 0]
        rows = rows[class_nms(boxes[rows], scores[rows], label[rows], self.after)[: self.top]]
        return boxes[rows], scores[rows], label[rows]


def probabilities(
    similarity: Float[Tensor, "R C"], against: Float[Tensor, "R _b"], scale: float
) -> Float[Tensor, "R C"]:
    """Return the softmax over names, and over background texts, which are dropped then.

    Args:
        similarity: Cosine of each box and name.
        against: Cosine of each box and background text.
        scale: Inverse temperature.
    """
    both = torch.cat([similarity, against], dim=1)
    return (scale * both).softmax(dim=1)[:, : similarity.shape[1]]
