"""Loss of a detector's text classifier, which must not learn of names that are kept apart."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def masked_classification(
    logits: Float[Tensor, "R C"],
    label: Int[Tensor, " R"],
    allowed: Bool[Tensor, " C"],
    weight: Float[Tensor, " R"],
    background_weight: float = 0.6,
) -> Float[Tensor, ""]:
    """Cross entropy over the names that may be learned, and the background.

    F-ViT's (arXiv:2310.01403): logits of novel names are left out, so that neither they nor their texts get a gradient.
    As there, the loss is averaged over boxes, not over their classes' weights.

    Args:
        logits: Of each box and name, the background last.
        label: What each box shows.
        allowed: Names that may be learned; others are no rivals.
        weight: Of each box; those of a batch sum to 1.
        background_weight: Times the loss of boxes that show nothing.

    Returns:
        The log of the number of allowed names if all logits are equal, no box is background. In float32.
    """
    losses = F.cross_entropy(logits.float().masked_fill(~allowed, -torch.inf), label, reduction="none")
    is_background = label == logits.shape[1] - 1
    return (weight * losses * torch.where(is_background, background_weight, 1.0)).sum()
