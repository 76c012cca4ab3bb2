"""What is known of a model's training data that touches a protocol's."""

from typing import Any

from .registry import Pinned


def flags(pinned: Pinned, model: str) -> dict[str, Any]:
    """Return what is known without looking at training data.

    Args:
        pinned: The protocol.
        model: Whose training data may touch it.

    Returns:
        "checked" is False: nobody compared pictures or texts. "flags" names sources that the field is known to train
        on; "source_images" and "captioner" say whose the protocol's are.
    """
    known = list(pinned.flags)
    if not any(flag.startswith(("pictures", "captioner", "selected-by")) for flag in known):
        known.append(f"unknown: the training data of {model or 'the model'} are not listed")
    return {
        "checked": False,
        "flags": known,
        "source_images": list(pinned.source_images),
        "captioner": pinned.captioner,
    }
