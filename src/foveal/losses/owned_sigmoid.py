"""Sigmoid loss of images and texts where an image owns any number of texts."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..distributed import ALONE, World
from ..similarity import cosine
from ._shared import BUDGET, full_precision, in_blocks, mean_over_ranks, same_rows

Similarity = Callable[[Tensor, Tensor], Tensor]


@full_precision
def owned_sigmoid(
    images: Float[Tensor, "B *_set E"],
    texts: Float[Tensor, "M E"],
    owner: Int[Tensor, " M"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    *,
    similarity: Similarity = cosine,
    world: World = ALONE,
    budget: int = BUDGET,
) -> Float[Tensor, ""]:
    """Ask of every image and every text, as a yes or no: is the text one of the image's?

    MPS of FLAIR (arXiv:2412.03561), and NPC and XAC of C2LIP (arXiv:2603.25722). Each rank judges its own images
    against everyone's texts. Averaged over ranks it equals the loss of the whole batch.

    Args:
        images: Unit-length embeddings of images, or whatever `similarity` compares with texts.
        texts: Unit-length embeddings.
        owner: Which image each text belongs to.
        scale: Inverse temperature that turns a cosine into a logit.
        bias: Added to every logit. SigLIP starts at -10, as nearly all pairs do not match.
        similarity: Of images to texts, one row per image. The cosine by default.
        world: The ranks whose texts serve as negatives. They may bring different numbers of texts.
        budget: Bytes of logits at once. Bounds memory, never changes the result.

    Returns:
        The summed loss of all pairs, per text. B * log 2 if all logits are zero; zero without texts.

    Raises:
        ValueError: If texts and owners differ in rows.
    """
    same_rows(texts=texts, owner=owner)
    counts = world.counts(texts)
    first = sum(counts[: world.rank])
    columns = world.gather_uneven(texts, counts)
    owners = owner.new_full((len(columns),), -1)
    owners[first : first + len(texts)] = owner

    def block(rows: Tensor, start: int) -> Tensor:
        logits = scale * similarity(images, rows) + bias  # (B, m)
        belongs = owners[start : start + len(rows)] == torch.arange(len(images), device=owners.device)[:, None]
        return F.softplus(logits.where(~belongs, -logits)).sum(dim=0)

    total = torch.cat(in_blocks(block, columns, images[..., 0].numel(), budget)).sum()
    return mean_over_ranks(total, len(texts), world)
