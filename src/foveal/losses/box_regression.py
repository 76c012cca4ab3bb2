"""Loss of how a detector changes boxes."""

from jaxtyping import Float
from torch import Tensor


def box_regression(
    deltas: Float[Tensor, "R 4"], targets: Float[Tensor, "R 4"], weight: Float[Tensor, " R"]
) -> Float[Tensor, ""]:
    """Pull changes of boxes towards what they should be, by their absolute differences.

    Args:
        deltas: Of each positive box.
        targets: Likewise, see `models.boxes.encode_boxes`.
        weight: Of each box. F-ViT divides by all boxes drawn, the negative ones too.

    Returns:
        Weighted sum of the four differences of each box. Zero for none. In float32.
    """
    return (weight * (deltas.float() - targets.float()).abs().sum(dim=1)).sum()
