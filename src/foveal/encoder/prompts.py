"""Class names put into prompts, and the prompts of a class made into one embedding."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PLAIN = ("a photo of a {}.",)
"""CLIP's one prompt."""


def ensemble(prompts: Float[Tensor, "C K E"]) -> Float[Tensor, "C E"]:
    """Return one embedding per class: the mean of its prompts' unit embeddings, made unit length again.

    Args:
        prompts: Embeddings of K prompts of each of C classes.

    Returns:
        Unit length. The one prompt itself if K is 1.
    """
    return F.normalize(F.normalize(prompts, dim=-1).mean(dim=1), dim=-1)


def filled(prompts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Put every name into every prompt, name by name.

    Raises:
        ValueError: If a prompt has no place for a name.
    """
    for prompt in prompts:
        if "{}" not in prompt:
            raise ValueError(f"Prompt '{prompt}' has no place for the class name. Put {{}} into it.")
    return [prompt.replace("{}", name) for name in names for prompt in prompts]
