"""A few tokens that stand for all of an image, and how they are stored."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def distinct_tokens(tokens: Float[Tensor, "B T E"], most: int) -> Float[Tensor, "B S E"]:
    """Return a few tokens that stand for many, by farthest-point sampling (Gonzalez, 1985) and one step of k-means.

    The first center is the token least like the mean of all; each next one is the token least like the centers
    before. A center then becomes the mean of the tokens nearest to it.

    Args:
        tokens: Unit-length.
        most: Tokens wanted.

    Returns:
        Unit-length. Sets that are small enough come back as they are.
    """
    if tokens.shape[1] <= most:
        return tokens
    rows = torch.arange(len(tokens))
    nearest = F.cosine_similarity(tokens, tokens.mean(dim=1, keepdim=True), dim=-1)
    centers = []
    for number in range(most):
        center = tokens[rows, nearest.argmin(dim=1)]
        centers.append(center)
        cosines = (tokens @ center[..., None])[..., 0]
        nearest = cosines if number == 0 else torch.maximum(nearest, cosines)
    owner = (tokens @ torch.stack(centers, dim=1).mT).argmax(dim=2)  # (B, T)
    members = F.one_hot(owner, most).to(tokens.dtype)
    return F.normalize(members.mT @ tokens, dim=-1)


def token_set(tokens: Float[Tensor, "T E"], size: int) -> Float[Tensor, "S E"]:
    """Return tokens as a set of one size: the distinct ones of a larger set, the last repeated in a smaller one.

    A repeated token changes no maximum.
    """
    few = distinct_tokens(tokens[None], size)[0]
    return torch.cat([few, few[-1:].expand(size - len(few), -1)])


def to_int8(rows: Float[Tensor, "*rows E"]) -> np.ndarray:
    """Quantize unit-length rows to 8 bits, stretched to the full range: the length is known, so no scale is kept."""
    peak = rows.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
    return (rows / peak * 127).round().to(torch.int8).numpy()
