"""Loss of a detector's proposals."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def proposal(
    objectness: Float[Tensor, " R"], is_object: Bool[Tensor, " R"], weight: Float[Tensor, " R"]
) -> Float[Tensor, ""]:
    """Tell boxes that hold something from those that do not: Faster R-CNN's (arXiv:1506.01497, eq. 1).

    Args:
        objectness: Logit of each box.
        is_object: Whether it covers a true one.
        weight: Of each box; those of a batch sum to 1.

    Returns:
        Weighted sum of the binary cross entropies. log 2 if all logits are 0. In float32.
    """
    losses = F.binary_cross_entropy_with_logits(objectness.float(), is_object.float(), reduction="none")
    return (weight * losses).sum()
