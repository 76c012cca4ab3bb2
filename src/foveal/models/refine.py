"""Many tokens in, a few out: a learned, soft selection for late interaction."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .config import RefineConfig


class TokenRefiner(nn.Module):
    """FineLIP's token refinement (ATRM, arXiv:2504.01916): each slot is a convex combination of the tokens.

    An MLP scores each token for each slot, and a softmax over the tokens of one image or text turns scores into
    weights of the raw tokens. Two differences from the authors' release change no result: texts of all lengths go
    through together, and the last layer has no bias. A bias would move all scores of a slot alike, which the
    softmax does not see.
    """

    def __init__(self, width: int, config: RefineConfig) -> None:
        super().__init__()
        hidden = max(1, int(width * config.hidden_ratio))
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, hidden)
        self.slots = nn.Linear(hidden, config.slots, bias=False)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(
        self, tokens: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B S E"]:
        """Return the slots of each row.

        Args:
            tokens: Not normalized.
            mask: True where a token is real; all are where it is absent.

        Returns:
            Not normalized. Every slot is the mean of the row's real tokens if `scale` is 0.

        Raises:
            ValueError: If a row has no real token.
        """
        scores = self.scale * self.slots(F.gelu(self.hidden(self.norm(tokens))))  # (B, T, S)
        if mask is not None:
            filled = mask.any(dim=1)
            if not torch.compiler.is_compiling() and not bool(filled.all()):  # a graph has no words to refuse with
                row = int(filled.logical_not().nonzero()[0])
                raise ValueError(f"Row {row} has no real token to refine. Drop it or give it one token.")
            scores = scores.masked_fill(~mask[..., None], -torch.inf)
        slots: Tensor = scores.softmax(dim=1).mT @ tokens
        return slots
