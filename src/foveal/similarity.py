"""Similarity of embeddings and token sets: one implementation for losses, evaluation and search."""

from math import isqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Direction = Literal["text", "image", "both"]
TEXT_TOKENS, IMAGE_TOKENS = 1, 3  # axes of a block of similarities, (b, T, n, S)
BUDGET = 64 * 2**20
"""Bytes of one block of token similarities. Larger blocks were not faster on a CPU with AVX-512."""


def cosine(left: Float[Tensor, "B E"], right: Float[Tensor, "N E"]) -> Float[Tensor, "B N"]:
    """Return the cosine of every pair, in float32 at least whatever autocast says.

    Args:
        left: Unit-length embeddings.
        right: Unit-length embeddings.

    Returns:
        Similarity in [-1, 1]. 1 where two embeddings are equal.

    Raises:
        ValueError: If the widths differ.
    """
    _check_widths(left, right)
    with torch.autocast(left.device.type, enabled=False):
        return _widen(left) @ _widen(right).T


def late_interaction(
    text_tokens: Float[Tensor, "B T E"],
    image_tokens: Float[Tensor, "N S E"],
    text_mask: Bool[Tensor, "B T"] | None = None,
    image_mask: Bool[Tensor, "N S"] | None = None,
    *,
    direction: Direction = "text",
    leak: float | None = None,
    budget: int = BUDGET,
) -> Float[Tensor, "B N"]:
    """Average, over one set's tokens, the best match of each in the other set, for every text and image.

    ColBERT's MaxSim (arXiv:2004.12832), averaged instead of summed, so that sets of any size compare. Pairs are
    compared block by block; autograd keeps the tokens and, per pair, the place and value of each best match, never
    the T x S similarities. Under autocast they are computed in its precision; the result is float32 at least.
    What padding holds does not matter. That no set is empty is checked, for which a GPU has to be waited for.

    Args:
        text_tokens: Unit-length token embeddings.
        image_tokens: Unit-length token embeddings.
        text_mask: True where a token is real. Without it all are.
        image_mask: True where a token is real. Without it all are.
        direction: "text" averages over text tokens, "image" over image tokens, "both" is the mean of the two.
        leak: Slope of a LeakyReLU over the cosines, as in FineLIP. None: the plain cosine.
        budget: Bytes of similarities at once. Bounds memory, never changes the result.

    Returns:
        Similarity in [-1, 1]. 1 if every token has an equal one on the other side.

    Raises:
        ValueError: If widths or a mask's shape do not fit, or a set has no real token.
    """
    _check_widths(text_tokens, image_tokens)
    text_tokens, text_weight = _real("Text", text_tokens, text_mask)
    image_tokens, image_weight = _real("Image", image_tokens, image_mask)
    texts, images = _block_sizes(text_tokens, image_tokens, budget)
    blocks = [
        torch.cat(
            [
                _mean_best(some_texts, some_images, weight, other_weight, direction, leak)
                for some_images, other_weight in _split(images, image_tokens, image_weight)
            ],
            dim=1,
        )
        for some_texts, weight in _split(texts, text_tokens, text_weight)
    ]
    return torch.cat(blocks)


def paired_late_interaction(
    text_tokens: Float[Tensor, "B T E"],
    image_tokens: Float[Tensor, "B S E"],
    text_mask: Bool[Tensor, "B T"] | None = None,
    image_mask: Bool[Tensor, "B S"] | None = None,
    *,
    leak: float | None = None,
) -> Float[Tensor, " B"]:
    """Return `late_interaction` in both directions of text i and image i alone: the diagonal, nothing else.

    Args:
        text_tokens: Unit-length token embeddings.
        image_tokens: Unit-length token embeddings.
        text_mask: True where a token is real. Without it all are.
        image_mask: True where a token is real. Without it all are.
        leak: Slope of a LeakyReLU over the cosines. None: the plain cosine.

    Returns:
        Similarity in [-1, 1] of each pair.

    Raises:
        ValueError: If widths or a mask's shape do not fit, or a set has no real token.
    """
    _check_widths(text_tokens, image_tokens)
    text_tokens, text_weight = _real("Text", text_tokens, text_mask)
    image_tokens, image_weight = _real("Image", image_tokens, image_mask)
    similarity = text_tokens @ image_tokens.transpose(1, 2)  # (B, T, S)
    best = [(similarity.amax(2), text_weight), (similarity.amax(1), image_weight)]
    means = []
    for matches, weight in best:
        matches = _widen(matches)
        matches = matches if leak is None else F.leaky_relu(matches, leak)
        means.append((matches * weight).sum(dim=1))
    return (means[0] + means[1]) / 2


def clim(
    text_tokens: Float[Tensor, "B T E"],
    image_tokens: Float[Tensor, "N S E"],
    text_mask: Bool[Tensor, "B T"] | None = None,
    image_mask: Bool[Tensor, "N S"] | None = None,
    *,
    leak: float = 0.1,
    budget: int = BUDGET,
) -> Float[Tensor, "B N"]:
    """Return FineLIP's cross-modal late interaction R: the sum, not the mean, of both directions.

    FineLIP (CVPR 2025) passes cosines through a LeakyReLU, which its code has and its equation leaves out. Margins
    of `losses.token_triplet` are on this scale.

    Args:
        text_tokens: Unit-length token embeddings.
        image_tokens: Unit-length token embeddings.
        text_mask: True where a token is real. Without it all are.
        image_mask: True where a token is real. Without it all are.
        leak: Slope of the LeakyReLU.
        budget: Bytes of similarities at once. Bounds memory, never changes the result.

    Returns:
        A number in [-2 * leak, 2]. 2 if the sets are equal.
    """
    mean = late_interaction(
        text_tokens, image_tokens, text_mask, image_mask, direction="both", leak=leak, budget=budget
    )
    return 2 * mean


def fused(cosine: Float[Tensor, "*pairs"], late: Float[Tensor, "*pairs"], weight: float) -> Float[Tensor, "*pairs"]:
    """Return the weighted mean of global and late similarity.

    FineLIP's published score is 0.8 * cosine + 0.2 * R; as R is twice the mean of both directions, it ranks as
    `fused` does with a weight of 2 / 3.

    Args:
        cosine: Similarities of whole images and texts.
        late: Similarities of their token sets.
        weight: Of the cosine, in [0, 1].

    Returns:
        weight * cosine + (1 - weight) * late.

    Raises:
        ValueError: If the weight lies outside [0, 1].
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"Weight {weight} of the cosine lies outside [0, 1].")
    return weight * cosine + (1 - weight) * late


def _mean_best(
    text: Tensor, image: Tensor, text_weight: Tensor, image_weight: Tensor, direction: Direction, leak: float | None
) -> Tensor:
    """Return `late_interaction` of one block of pairs."""
    axes = {"text": (IMAGE_TOKENS,), "image": (TEXT_TOKENS,), "both": (IMAGE_TOKENS, TEXT_TOKENS)}[direction]
    if torch.is_grad_enabled() and (text.requires_grad or image.requires_grad):
        best = _Best.apply(text, image, axes)  # type: ignore[no-untyped-call]
    else:
        similarity = _similarity(text, image)
        best = [similarity.amax(axis) for axis in axes]
    means = []
    for axis, matches in zip(axes, best, strict=True):
        matches = _widen(matches)
        if leak is not None:  # monotonic, so it may follow the maximum, where far fewer numbers are left
            matches = F.leaky_relu(matches, leak)
        if axis == IMAGE_TOKENS:  # (b, T, n)
            means.append((matches * text_weight[:, :, None]).sum(dim=1))
        else:  # (b, n, S)
            means.append((matches * image_weight).sum(dim=2))
    return sum(means[1:], means[0]) / len(means)


class _Best(torch.autograd.Function):
    """Maxima of a block of similarities along some of its axes. Keeps where they were, not the block.

    The gradient of the block is rebuilt from them, nearly all zeros, for two dense products that each cost what the
    forward product does.
    """

    @staticmethod
    def forward(ctx: Any, text: Tensor, image: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, ...]:
        similarity = _similarity(text, image)
        best = [similarity.max(axis) for axis in axes]
        small = torch.int16 if max(similarity.shape) < 2**15 else torch.int32
        ctx.axes, ctx.shape, ctx.dtype = axes, similarity.shape, similarity.dtype
        ctx.save_for_backward(text, image, *(place.to(small) for _, place in best))
        return tuple(value for value, _ in best)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        text, image, *places = ctx.saved_tensors
        gradient = gradients[0].new_zeros(ctx.shape)
        for axis, place, of_best in zip(ctx.axes, places, gradients, strict=True):
            gradient.scatter_add_(axis, place.long().unsqueeze(axis), of_best.unsqueeze(axis))
        gradient = gradient.flatten(2).flatten(0, 1)  # (b * T, n * S)
        of_text = gradient @ image.to(ctx.dtype).flatten(0, 1)
        of_image = gradient.T @ text.to(ctx.dtype).flatten(0, 1)
        return of_text.to(text.dtype).view_as(text), of_image.to(image.dtype).view_as(image), None


def _similarity(text: Tensor, image: Tensor) -> Tensor:
    """Return cosines of all tokens of a block, in autocast's precision where it is on."""
    flat = text.flatten(0, 1) @ image.flatten(0, 1).T
    return flat.view(*text.shape[:2], *image.shape[:2])  # (b, T, n, S)


def _real(side: str, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Replace padding by a real token of the same set. Return tokens, and each one's share of the set's mean.

    A repeated token changes no maximum, so the large blocks need no mask.
    """
    size, length = tokens.shape[:2]
    if length == 0:
        raise ValueError(f"{side} sets have no tokens; a set needs one at least.")
    if mask is None:
        return tokens, _widen(tokens).new_full((size, length), 1 / length)
    if mask.shape != tokens.shape[:2]:
        raise ValueError(
            f"{side} mask of shape {tuple(mask.shape)} does not fit tokens of shape {tuple(tokens.shape)}; "
            f"it needs {(size, length)}."
        )
    counts = mask.sum(dim=1, keepdim=True)
    if (counts == 0).any():
        raise ValueError(f"{side} set {int(counts.argmin())} has no real token; a set needs one at least.")
    first = tokens[torch.arange(size, device=tokens.device), mask.int().argmax(dim=1)]
    return torch.where(mask[..., None], tokens, first[:, None]), _widen(mask.to(tokens.dtype)) / counts


def _block_sizes(text: Tensor, image: Tensor, budget: int) -> tuple[int, int]:
    """Return the numbers of texts and images to compare at once, about equal, to read both as rarely as possible."""
    pairs = max(1, budget // (text.shape[1] * image.shape[1] * text.element_size()))
    texts = max(1, min(len(text), isqrt(pairs)))
    images = max(1, min(len(image), pairs // texts))
    return max(1, min(len(text), pairs // images)), images


def _split(size: int, tokens: Tensor, weight: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(tokens.split(size), weight.split(size), strict=True))


def _widen(values: Tensor) -> Tensor:
    """Convert to float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check_widths(left: Tensor, right: Tensor) -> None:
    if left.shape[-1] != right.shape[-1]:
        raise ValueError(
            f"Widths {left.shape[-1]} and {right.shape[-1]} differ; both sides must be projected to one space."
        )
