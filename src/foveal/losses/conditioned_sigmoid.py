"""Sigmoid loss of texts and images that are pooled by each text."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ._shared import BUDGET, full_precision, in_blocks, same_rows

Pool = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@full_precision
def conditioned_sigmoid(
    patches: Float[Tensor, "B P E"],
    texts: Float[Tensor, "M E"],
    owner: Int[Tensor, " M"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    pool: Pool,
    *,
    mask: Bool[Tensor, "B P"] | None = None,
    world: World = ALONE,
    budget: int = BUDGET,
) -> Float[Tensor, ""]:
    """Compare each text with the image pooled by it, and ask: is the text one of the image's?

    TCS of FLAIR (arXiv:2412.03561). An image is pooled by all of its own texts, which match, and by the first text of
    every other image, which does not; texts are drawn at random, so the first is any of them. Each rank judges its own
    images with everyone's texts. Averaged over ranks it equals the loss of the whole batch.

    Args:
        patches: What is pooled of each image.
        texts: Unit-length embeddings.
        owner: Which image each text belongs to, in rising order. Every image has one at least.
        scale: Inverse temperature that turns a cosine into a logit.
        bias: Added to every logit. SigLIP starts at -10, as nearly all pairs do not match.
        pool: Gives unit-length vectors (B, Q, E) of queries (B, Q, E), patches (B, P, E) and their mask.
        mask: True where a patch is real. None: all are.
        world: The ranks whose first texts serve as negatives; each must bring as many images.
        budget: Bytes of attention at once, about. Bounds memory, never changes the result.

    Returns:
        The summed loss of an image's pairs, a mean over this rank's images. (K + N - 1) * log 2 if all logits are zero
        and each of N images has K texts.

    Raises:
        ValueError: If texts and owners differ in rows, or an image has no text.
    """
    same_rows(texts=texts, owner=owner)
    count = len(patches)
    counts = torch.bincount(owner, minlength=count)
    if count and not int(counts.min()):
        raise ValueError(f"Image {int(counts.argmin())} has no text. Give every image one at least.")
    starts = counts.cumsum(0) - counts
    firsts = world.gather(texts[starts])  # (N, E)
    most = int(counts.max()) if count else 0
    matches = starts[:, None] + torch.arange(most, device=owner.device)  # (B, K)
    real = torch.arange(most, device=owner.device) < counts[:, None]
    itself = torch.arange(count, device=owner.device) + world.rank * count

    def block(rows: Tensor, start: int) -> Tensor:
        images = slice(start, start + len(rows))
        matching = texts[matches[images].clamp(max=len(texts) - 1)]  # (b, K, E)
        queries = torch.cat([matching, firsts.expand(len(rows), -1, -1)], dim=1)
        pooled = pool(queries, rows, None if mask is None else mask[images])
        logits = scale * (pooled * queries).sum(dim=-1) + bias
        right, wrong = logits.split([most, len(firsts)], dim=1)
        negative = torch.arange(len(firsts), device=owner.device) != itself[images, None]
        return (F.softplus(-right) * real[images]).sum(dim=1) + (F.softplus(wrong) * negative).sum(dim=1)

    return torch.cat(in_blocks(block, patches, (most + len(firsts)) * patches.shape[1], budget)).mean()
