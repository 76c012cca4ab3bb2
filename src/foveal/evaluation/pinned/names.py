"""Class names that protocols pin, as their authors give them, see `tables/names.json`."""

import json
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "tables" / "names.json"


def imagenet_names() -> tuple[str, ...]:
    """Return CLIP's 1,000 names of ImageNet's classes, in the order of their labels."""
    return tuple(_content()["imagenet"]["names"])


def imagenet_wnids() -> tuple[str, ...]:
    """Return the WordNet ids of ImageNet's classes, in the order of their labels."""
    return tuple(_content()["imagenet"]["wnids"])


def imagenet_part(name: str) -> tuple[int, ...]:
    """Return the labels of "imagenet_a" or "imagenet_r", 200 each."""
    return tuple(_content()[name])


def objectnet_folders() -> dict[str, tuple[int, ...]]:
    """Return the labels of ImageNet that each of ObjectNet's 113 shared classes stands for, by folder."""
    return {folder: tuple(labels) for folder, labels in sorted(_content()["objectnet"].items())}


def lvis_names() -> tuple[str, ...]:
    """Return the 1,203 names of LVIS, in the order of their ids."""
    return tuple(_content()["lvis"])


@cache
def _content() -> Any:
    return json.loads(_FILE.read_text(encoding="utf-8"))
