"""Class names put into prompts, and the prompts of a class made into one embedding."""

from collections import Counter
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..outside import shown

PLAIN = ("a photo of a {}.",)
"""CLIP's one prompt."""
MOST_NAMES = 4_000


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


def check_names(names: Sequence[str]) -> None:
    """Refuse names that nothing can be looked for by.

    Raises:
        ValueError: If there is none, one is empty or comes twice, or there are too many.
    """
    if isinstance(names, str) or not names:
        raise ValueError('There is nothing to look for. Give names as a list: ["a dog", "a red mug"].')
    if len(names) > MOST_NAMES:
        raise ValueError(
            f"{len(names):,} names are given, at most {MOST_NAMES:,} can be looked for at once. Split them."
        )
    if not all(name.strip() for name in names):
        raise ValueError("A name is empty. Leave it out.")
    name, count = Counter(name.strip().lower() for name in names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"The name {shown(name)} is given {count} times. Give it once.")
