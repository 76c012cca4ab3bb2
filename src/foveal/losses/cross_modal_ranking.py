"""Margin loss of hard negatives, whose margin follows the training."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import full_precision, margins, mean_over_ranks, widen


@full_precision
def cross_modal_ranking(
    anchors: Float[Tensor, "R E"],
    positives: Float[Tensor, "R E"],
    negatives: Float[Tensor, "K E"],
    owner: Int[Tensor, " K"],
    scale: Float[Tensor, ""],
    threshold: Float[Tensor, ""],
    *,
    world: World = ALONE,
) -> Float[Tensor, ""]:
    """Push each anchor's positive to beat each of its negatives by a threshold.

    CMR of FG-CLIP 2. As in the authors' code it compares logits; the paper's equation compares cosines. Ranks are
    weighted by their number of negatives, so that the mean over ranks is the loss of the whole batch.

    Args:
        anchors: Unit-length embeddings.
        positives: Unit-length embeddings, matching `anchors` row by row.
        negatives: Unit-length embeddings of all anchors' hard negatives.
        owner: Which anchor each negative belongs to, in any order.
        scale: Inverse temperature that turns a cosine into a logit.
        threshold: The margin, in logits. What `RankingThreshold` holds.
        world: The ranks over which the loss is averaged.

    Returns:
        Mean loss of the negatives. The threshold if all similarities are equal; zero without negatives.

    Raises:
        ValueError: If anchors and positives, or negatives and owners, differ in rows.
    """
    short_by = threshold - margins(anchors, positives, negatives, owner, scale)
    return mean_over_ranks(short_by.relu().sum(), len(negatives), world)


class RankingThreshold:
    """The margin of `cross_modal_ranking`: the mean lead that positives had in the step before.

    State of a training, so it has to be saved with it.

    Attributes:
        value: In logits. Zero at the start.
        most: It grows no larger.
    """

    def __init__(self, most: float = 10.0) -> None:
        self.value = torch.zeros(())
        self.most = most

    @torch.no_grad()
    def update(
        self,
        anchors: Float[Tensor, "R E"],
        positives: Float[Tensor, "R E"],
        negatives: Float[Tensor, "K E"],
        owner: Int[Tensor, " K"],
        scale: Float[Tensor, ""],
        *,
        world: World = ALONE,
    ) -> None:
        """Set the next step's threshold from this step's batch, the same on every rank.

        Every rank must call it, also one without negatives. Stays as it is if no rank has any.

        Args:
            anchors: Unit-length embeddings.
            positives: Unit-length embeddings, matching `anchors` row by row.
            negatives: Unit-length embeddings of all anchors' hard negatives.
            owner: Which anchor each negative belongs to.
            scale: Inverse temperature that turns a cosine into a logit.
            world: The ranks whose negatives count.
        """
        lead = margins(widen(anchors), widen(positives), widen(negatives), owner, widen(scale))
        total, count = world.mean(torch.stack([lead.sum(), lead.new_tensor(float(len(lead)))]))
        self.value = torch.where(count > 0, (total / count).clamp(0, self.most), self.value.to(total))

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up where `state_dict` left off."""
        self.value = state["value"].clone()
