"""What is known of a model's training data that touches a protocol's."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...encoder import Encoder
from ...outside import read_json
from ..encoded import Encodes
from .registry import Pinned

_RUN_DATA = "data.json"  # what a training was begun with, in its folder
_IMAGES: Mapping[str, tuple[str, ...]] = {
    "coco": ("coco-train2014", "coco-train2017"),
    "visualgenome": ("visual-genome",),
    "sa1b": ("sa-1b",),
    "segmentanything": ("sa-1b",),
    "sharegpt4v": ("sa-1b",),
    "flickr30k": ("flickr30k",),
    "docci": ("docci",),
    "imagenet": ("imagenet",),
    "openimages": ("openimages",),
}
"""Words in names of data sets, and whose images they hold, as protocols call them; of COCO those for training."""

_CAPTIONERS: Mapping[str, tuple[str, ...]] = {"sharegpt4v": ("share-captioner", "gpt-4v")}
"""Words in names of data sets, and who wrote their texts."""


def training_of(encoder: Encodes, place: Path) -> tuple[str, ...]:
    """Return the names of what a model was trained on: from its card, its protocol, and the folder of its run.

    Args:
        encoder: The model.
        place: Where it was opened: a hub name has no folder.

    Raises:
        ValueError: If the list of the run's data is damaged.
    """
    stated = encoder.protocol.training if isinstance(encoder, Encoder) else ()
    runs = (place, place.parent, place.parent.parent)  # a checkpoint lies in a folder of its run's
    lists = [folder / _RUN_DATA for folder in runs if (folder / _RUN_DATA).is_file()]
    return tuple(dict.fromkeys([*stated, *(_sources(lists[0]) if lists else ())]))


def flags(pinned: Pinned, model: str, training: Sequence[str] = ()) -> dict[str, Any]:
    """Return what is known without looking at training data.

    Args:
        pinned: The protocol.
        model: Whose training data may touch it.
        training: Names of data sets that the model was trained on. Empty: they are not known.

    Returns:
        "checked" is False: nobody compared pictures or texts. "flags" names sources that the field is known to train
        on, and those of this model; "source_images" and "captioner" say whose the protocol's are.
    """
    notes = list(pinned.flags)
    notes += [flag for name in training for flag in _of_source(pinned, name)]
    if not any(flag.startswith(("pictures", "captioner", "selected-by", "in-domain")) for flag in notes):
        notes.append(
            f"none known: {model or 'the model'} was trained on {', '.join(training)}"
            if training
            else f"unknown: the training data of {model or 'the model'} are not listed"
        )
    return {
        "checked": False,
        "flags": notes,
        "source_images": list(pinned.source_images),
        "captioner": pinned.captioner,
        "trained_on": list(training),
    }


def _of_source(pinned: Pinned, name: str) -> Iterable[str]:
    """What a data set and a protocol have in common."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    family = re.sub(r"[^a-z0-9]", "", pinned.family)
    if family in plain:
        yield f"in-domain: trained on {name}"
        return
    images = {image for word, holds in _IMAGES.items() if word in plain for image in holds}
    for image in pinned.source_images:
        if image in images:
            yield f"pictures: {image}, as in {name}, which the model was trained on"
    if any(pinned.captioner in writers for word, writers in _CAPTIONERS.items() if word in plain):
        yield f"captioner: {pinned.captioner}, as in {name}, which the model was trained on"


def _sources(path: Path) -> list[str]:
    """The sources that a run was begun with."""
    try:
        return [str(row["spec"]) for row in read_json(path)]
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} does not list a run's data ({error!r}). Remove it to measure without.") from error
