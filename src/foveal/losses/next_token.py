"""Loss of a language model: the next token."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import full_precision, mean_over_ranks


@full_precision
def next_token(logits: Float[Tensor, "T V"], targets: Int[Tensor, " T"], *, world: World = ALONE) -> Float[Tensor, ""]:
    """Compare what a model says of each token with the token that stands there: cross entropy.

    LLaVA-1.5's (arXiv:2310.03744), on the tokens of answers. Averaged over ranks it is the mean over the tokens of all
    of them, however many each has.

    Args:
        logits: Of each token, given all before it.
        targets: The tokens.
        world: The ranks whose tokens the mean is over.

    Returns:
        log V if all tokens of a vocabulary are equally likely. Zero without tokens.
    """
    return mean_over_ranks(F.cross_entropy(logits, targets, reduction="sum"), len(targets), world)
