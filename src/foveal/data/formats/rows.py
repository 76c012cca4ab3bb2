"""A sample as plain values (the row of JSON Lines, WebDataset and Parquet), checked when read."""

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...types import Box, Negative, Region, Sample

BOX_SLACK = 0.01
"""How far outside the image a box may reach, as a share of it: annotators' rounding. It is cut to the image."""


def sample_from_row(row: Any, image: Path | bytes, **known: Any) -> Sample:
    """The sample that a row describes.

    Args:
        row: {"id", "captions", "long_caption", "regions", "caption_negatives", "long_caption_negatives"}, all
            but "id" optional; a region is {"box", "phrase", "negatives"}, a negative {"text", "kind"} or a text.
        image: Its picture.
        known: Fields of the row that are already known, used where it lacks them.

    Raises:
        TypeError: If a field is of the wrong type or missing. The message names it.
        ValueError: If a box is none.
    """
    if not isinstance(row, Mapping):
        raise TypeError(f"{row!r:.60} is no object with fields")
    row = {**known, **row}
    return Sample(
        id=text(row, "id"),
        image=image,
        captions=tuple(_texts(row, "captions")),
        long_caption=text(row, "long_caption", ""),
        regions=tuple(_region(region) for region in items(row, "regions")),
        caption_negatives=_negatives(row, "caption_negatives"),
        long_caption_negatives=_negatives(row, "long_caption_negatives"),
    )


def row_from_sample(sample: Sample) -> dict[str, Any]:
    """The row of a sample, without its picture. Fields that say nothing are left out."""
    row = {
        "id": sample.id,
        "captions": list(sample.captions),
        "long_caption": sample.long_caption,
        "regions": [_region_row(region) for region in sample.regions],
        "caption_negatives": _negative_rows(sample.caption_negatives),
        "long_caption_negatives": _negative_rows(sample.long_caption_negatives),
    }
    return {key: value for key, value in row.items() if value or key == "id"}


def refuse_loss(sample: Sample, holds: tuple[str, ...], file_format: str) -> None:
    """Refuse to write a sample that says more than a format can hold.

    Args:
        sample: To be written.
        holds: The fields of `Sample` that the format carries; "negatives" are those of regions.
        file_format: The format's name.

    Raises:
        ValueError: If something would be lost.
    """
    filled = {field.name for field in fields(sample) if getattr(sample, field.name)} - {"id", "image"}
    if any(region.negatives for region in sample.regions):
        filled.add("negatives")
    lost = sorted(filled - set(holds))
    if lost:
        raise ValueError(
            f"{file_format} cannot hold {', '.join(lost)} of sample '{sample.id}'."
            " Empty these fields first, or write JSON Lines."
        )


def text(row: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """The text under a key.

    Raises:
        TypeError: If it is no text, or absent and there is no default.
    """
    value = row.get(key, default)
    value = default if value is None else value
    if not isinstance(value, str):
        raise TypeError(f"'{key}' must be a text, not {value!r:.60}" if key in row else f"there is no '{key}'")
    return value


def items(row: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key, empty where the key is absent.

    Raises:
        TypeError: If it is no list.
    """
    value = row.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError(f"'{key}' must be a list, not {value!r:.60}")
    return value


def checked_box(values: Any) -> Box:
    """Four numbers as a box in fractions of the image, cut to it where rounding led slightly outside.

    Raises:
        ValueError: If they are no box, or one without area or clearly outside the image.
    """
    numbers = tuple(float(value) for value in values) if isinstance(values, list | tuple) else ()
    if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"box {values!r:.80} must be four numbers (x0, y0, x1, y1)")
    if min(numbers) < -BOX_SLACK or max(numbers) > 1 + BOX_SLACK:
        raise ValueError(f"box {values!r:.80} lies outside the image; fractions of it are wanted, not pixels")
    x0, y0, x1, y1 = (min(max(number, 0.0), 1.0) for number in numbers)
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"box {values!r:.80} has no area")
    return x0, y0, x1, y1


def _texts(row: Mapping[str, Any], key: str) -> list[str]:
    """The list of texts under a key."""
    values = items(row, key)
    wrong = next((value for value in values if not isinstance(value, str)), None)
    if wrong is not None:
        raise ValueError(f"'{key}' must hold texts, not {wrong!r:.60}")
    return values


def _region(row: Any) -> Region:
    if not isinstance(row, Mapping):
        raise TypeError(f"region {row!r:.60} is no object with fields")
    return Region(checked_box(row.get("box")), text(row, "phrase"), _negatives(row, "negatives"))


def _region_row(region: Region) -> dict[str, Any]:
    row = {"box": list(region.box), "phrase": region.phrase, "negatives": _negative_rows(region.negatives)}
    return row if region.negatives else {"box": row["box"], "phrase": row["phrase"]}


def _negatives(row: Mapping[str, Any], key: str) -> tuple[Negative, ...]:
    return tuple(_negative(value) for value in items(row, key))


def _negative(row: Any) -> Negative:
    if type(row) is dict and type(row.get("text")) is str and type(row.get("kind")) is str:
        return Negative(row["text"], row["kind"])  # as nearly all are; they are most of what a row holds
    if isinstance(row, str):
        return Negative(row)
    if not isinstance(row, Mapping):
        raise TypeError(f"negative {row!r:.60} is neither a text nor an object with 'text'")
    return Negative(text(row, "text"), text(row, "kind", ""))


def _negative_rows(negatives: tuple[Negative, ...]) -> list[dict[str, str]]:
    return [{"text": one.text, "kind": one.kind} if one.kind else {"text": one.text} for one in negatives]
