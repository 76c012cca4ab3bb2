"""Names of classes as benchmarks have them, in their order. `README.md` beside them says where each list is from."""

import json
from functools import cache
from pathlib import Path
from typing import Any

LISTS = ("ade150", "ade847", "coco_stuff171", "pc459", "pc59", "voc20", "voc20b")
"""Lists of classes to segment."""


def class_names(name: str) -> tuple[str, ...]:
    """Return the classes of a list, one of `LISTS`.

    Raises:
        ValueError: If there is no such list.
    """
    if name not in LISTS:
        raise ValueError(f"There is no list of classes '{name}'. There are: {', '.join(LISTS)}.")
    return tuple(word.strip() for word in _read(name))


def ov_coco() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the 48 base and 17 novel classes of OV-COCO. The other 15 of COCO's 80 do not exist in that task."""
    content = _read("ov_coco_48_17")
    return tuple(content["base"]), tuple(content["novel"])


@cache
def _read(name: str) -> Any:
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
