"""How pictures and texts are compared: by whole embeddings, token by token, or both; and names put into prompts."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..similarity import cosine, fused, late_interaction
from .encodings import EncodedImages, EncodedTexts

Similarity = Literal["global", "late", "fused", "parts"]
"""Cosine; late interaction in both directions as FineLIP has it (half of its R); FineLIP's mix of the two; and the mean
of the cosine and of how well each sentence of the text, read as a phrase, fits the patch that fits it best."""

LEAK = 0.1
COSINE_WEIGHT = 2 / 3  # ranks as FineLIP's 0.8 * cosine + 0.2 * R, since R is twice the late similarity here

PARTS_WEIGHT = 0.5  # of the cosine, where sentences are compared with patches

PLAIN = ("a photo of a {}.",)
"""CLIP's one prompt."""


def compare(
    texts: EncodedTexts,
    images: EncodedImages,
    mode: Similarity = "global",
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> Float[Tensor, "T N"]:
    """Similarity of every text to every picture, in float32 on the CPU.

    Args:
        texts: With token sets unless `mode` is "global"; for "parts", with sentences as their members.
        images: With token sets likewise; for "parts", all patches.
        mode: How to compare.
        device: Where to compare.

    Returns:
        Numbers in [-1, 1].

    Raises:
        ValueError: If there is no such mode, or token sets are needed and were not encoded.
    """
    if mode not in get_args(Similarity):
        raise ValueError(f"There is no similarity '{mode}'. There are: {', '.join(get_args(Similarity))}.")
    whole = cosine(texts.embedding.to(device), images.embedding.to(device))
    if mode == "global":
        return whole.cpu().float()
    if texts.tokens is None or texts.token_mask is None or images.tokens is None or images.token_mask is None:
        raise ValueError(f"Similarity '{mode}' compares token sets. Encode with tokens=True.")
    late = late_interaction(
        texts.tokens.to(device),
        images.tokens.to(device),
        texts.token_mask.to(device),
        images.token_mask.to(device),
        direction="text" if mode == "parts" else "both",
        leak=None if mode == "parts" else LEAK,
    )
    weight = PARTS_WEIGHT if mode == "parts" else COSINE_WEIGHT
    return (late if mode == "late" else fused(whole, late, weight)).cpu().float()


def ensemble(prompts: Float[Tensor, "C K E"]) -> Float[Tensor, "C E"]:
    """One embedding per class: the mean of its prompts' unit embeddings, made unit length again.

    Args:
        prompts: Embeddings of K prompts of each of C classes.

    Returns:
        Unit length. The one prompt itself if K is 1.
    """
    return F.normalize(F.normalize(prompts, dim=-1).mean(dim=1), dim=-1)


def filled(prompts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Every name in every prompt, name by name.

    Raises:
        ValueError: If a prompt has no place for a name.
    """
    for prompt in prompts:
        if "{}" not in prompt:
            raise ValueError(f"Prompt '{prompt}' has no place for the class name. Put {{}} into it.")
    return [prompt.replace("{}", name) for name in names for prompt in prompts]
