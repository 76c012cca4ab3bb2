"""A sample as plain values (the row of JSON Lines, CSV, WebDataset and Parquet), checked when read.

One odd part of a row never costs the others: it is left out, and the sample's `notes` say so.
"""

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ...types import Negative, Region, Sample
from .boxes import checked_box
from .fields import BY_NAME, SPELLINGS, Columns, is_empty, is_unicode, listed, plain, shown

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|data:", re.IGNORECASE)
_TEXT_KEYS = frozenset(map(plain, SPELLINGS["captions"]))


def sample_from_row(row: Any, image: Path | bytes, columns: Columns = BY_NAME, **fallback: Any) -> Sample:
    """Return the sample that a row describes.

    Args:
        row: Fields of a sample under any of their `SPELLINGS`, all but "id" optional; a region is {"box", "phrase",
            "negatives"}, a negative {"text", "kind"} or a text.
        image: Its picture.
        columns: Names that a user gave.
        fallback: The fields "id" and "captions" where they are already known, used where the row lacks them.

    Raises:
        TypeError: If the row is no object, or there is no id.
    """
    if not isinstance(row, Mapping):
        raise TypeError(f"{shown(row)} is no object with fields")
    notes: list[str] = []
    identity = identity_of(row, columns, notes) or fallback.get("id")
    if not identity:
        raise TypeError("there is no 'id'")
    captions = _texts(columns.values(row, "captions"), "captions", notes) or fallback.get("captions", ())
    first, *further = _texts(columns.values(row, "long_caption"), "long_caption", notes) or ("",)
    notes.extend(f"a further long caption: {shown(caption)}" for caption in further)
    return Sample(
        id=identity,
        image=image,
        captions=tuple(captions),
        long_caption=first,
        regions=tuple(_regions(row.get("regions"), notes)),
        caption_negatives=negatives(row, "caption_negatives", notes),
        long_caption_negatives=negatives(row, "long_caption_negatives", notes),
        notes=tuple(notes),
    )


def picture_of(row: Any, columns: Columns = BY_NAME) -> str | bytes:
    """Return the path of a row's picture, as it stands there, or its encoded bytes.

    Args:
        row: Its picture is a path, bytes, {"bytes", "path"} as Hugging Face's datasets have it, or a list of one.
        columns: Names that a user gave.

    Raises:
        TypeError: If the row is no object.
        ValueError: If there is no picture, or one that no file can be.
    """
    if not isinstance(row, Mapping):
        raise TypeError(f"{shown(row)} is no object with fields")
    value = next(iter(columns.values(row, "image")), None)
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if is_empty(value):
        column = columns.column(row, "image")
        if column in row:
            raise ValueError(f"'{column}' is empty")
        raise ValueError(f"there is no 'image'. There are: {listed(row)}. Name another column: --image-column")
    if not isinstance(value, str | bytes):
        raise ValueError(f"'image' must be a path or bytes, not {shown(value)}")  # noqa: TRY004  # a user's mistake
    return value if isinstance(value, bytes) else _path(row, value)


def identity_of(row: Mapping[str, Any], columns: Columns = BY_NAME, notes: list[str] | None = None) -> str:
    """Return a row's id as a text; empty if it has none. One that is neither text nor whole number is noted."""
    value = next(iter(columns.values(row, "id")), None)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and is_unicode(value):
        return value
    if value is not None and notes is not None:
        notes.append(f"id that is neither a text nor a whole number: {shown(value)}")
    return ""


def unit_of(row: Mapping[str, Any], columns: Columns = BY_NAME) -> tuple[str | bytes, str]:
    """Return what rows share that are one sample: the image, and the long caption, empty if a row has none.

    Raises:
        ValueError: If there is no picture, or hard negatives of its caption keep the row by itself.
    """
    if not is_empty(row.get("caption_negatives")):
        raise ValueError("hard negatives belong to the caption of one row alone")
    image = picture_of(row, columns)
    long = next((value for value in columns.values(row, "long_caption") if isinstance(value, str)), "")
    if isinstance(image, str):
        return os.path.normpath(image), long
    return image + identity_of(row, columns).encode(), long  # of pictures inside, those of two ids are two


def joined(samples: Sequence[Sample]) -> Sample:
    """Return one sample of all that several rows say of one image, in their order, with the first one's id.

    Args:
        samples: Of the rows, which have but one long caption among them.
    """
    first = samples[0]
    if len(samples) == 1:
        return first
    long = next((sample for sample in samples if sample.long_caption), first)
    return replace(
        first,
        captions=tuple(dict.fromkeys(caption for sample in samples for caption in sample.captions)),
        long_caption=long.long_caption,
        long_caption_negatives=long.long_caption_negatives,
        regions=tuple(dict.fromkeys(region for sample in samples for region in sample.regions)),
        notes=tuple(note for sample in samples for note in sample.notes),
    )


def row_from_sample(sample: Sample) -> dict[str, Any]:
    """Build the row of a sample, without its picture and without empty fields."""
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
    filled = {field.name for field in fields(sample) if field.compare and getattr(sample, field.name)}
    if any(region.negatives for region in sample.regions):
        filled.add("negatives")
    lost = sorted(filled - {"id", "image", *holds})
    if lost:
        raise ValueError(
            f"{file_format} cannot hold {', '.join(lost)} of sample '{sample.id}'."
            " Empty these fields first, or write JSON Lines."
        )


def text(row: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """Return the text under a key.

    Raises:
        TypeError: If it is no text, or absent and there is no default.
    """
    value = row.get(key, default)
    value = default if value is None else value
    if not isinstance(value, str):
        raise TypeError(f"'{key}' must be a text, not {shown(value)}" if key in row else f"there is no '{key}'")
    return value


def items(row: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list under a key, empty where the key is absent.

    Raises:
        TypeError: If it is no list.
    """
    value = row.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError(f"'{key}' must be a list, not {shown(value)}")
    return value


def texts(value: Any, name: str, notes: list[str]) -> list[str]:
    """Return the texts that a value holds, blank ones left out; what is no text is noted.

    Args:
        value: A text, {"raw", "text" or "caption"}, or a list of such.
        name: Of the field, for the notes.
        notes: Of the sample; added to.
    """
    nonblank: list[str] = []
    for item in value if isinstance(value, list | tuple) else (value,):
        words = next((item[key] for key in item if plain(key) in _TEXT_KEYS), item) if _is_object(item) else item
        if not isinstance(words, str):
            notes.append(f"no text in '{name}': {shown(words)}")
        elif not is_unicode(words):
            notes.append(f"half a character in '{name}': {shown(words)}")
        elif not is_empty(words):
            nonblank.append(words)
    return nonblank


def negatives(row: Mapping[str, Any], key: str, notes: list[str]) -> tuple[Negative, ...]:
    """Return the hard negatives under a key; what is none is noted."""
    value = row.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        notes.append(f"no list in '{key}': {shown(value)}")
        return ()
    return tuple(negative for item in value for negative in _negative(item, key, notes))


def _path(row: Mapping[str, Any], value: str) -> str:
    """Return the path of a picture, whose folder may stand in a column of its own (Karpathy's splits of COCO)."""
    if _ADDRESS.match(value):
        raise ValueError(f"'image' is an address, not a file: {shown(value)}. Download the pictures first")
    if "\0" in value or not is_unicode(value):
        raise ValueError(f"'image' is no name of a file: {shown(value)}")
    folder = row.get("filepath")
    is_folder = isinstance(folder, str) and not is_empty(folder) and "." not in folder
    return f"{folder}/{value}" if is_folder and value == row.get("filename") else value


def _texts(values: Iterable[Any], name: str, notes: list[str]) -> list[str]:
    """Return the texts of several columns."""
    return [words for value in values for words in texts(value, name, notes)]


def _regions(value: Any, notes: list[str]) -> Iterator[Region]:
    """Yield the regions of a list, and note what is none."""
    if value is not None and not isinstance(value, list | tuple):
        notes.append(f"no list in 'regions': {shown(value)}")
        return
    for row in value or ():
        if not isinstance(row, Mapping):
            notes.append(f"region that is no object: {shown(row)}")
            continue
        phrases = texts(row.get("phrase"), "phrase", [])
        if len(phrases) != 1:
            notes.append(f"region without a phrase: {shown(row.get('phrase'))}")
            continue
        try:
            yield Region(checked_box(row.get("box")), phrases[0], negatives(row, "negatives", notes))
        except ValueError as error:
            notes.append(str(error))


def _region_row(region: Region) -> dict[str, Any]:
    row = {"box": list(region.box), "phrase": region.phrase, "negatives": _negative_rows(region.negatives)}
    return row if region.negatives else {"box": row["box"], "phrase": row["phrase"]}


def _negative(row: Any, name: str, notes: list[str]) -> tuple[Negative, ...]:
    """Return one hard negative, or none."""
    if type(row) is dict and type(row.get("text")) is str and row["text"] and row["text"].isascii():
        kind = row.get("kind")  # as nearly all are; they are most of what a row holds
    elif isinstance(row, str) or _is_object(row):
        kind = row.get("kind") if _is_object(row) else None
        words = texts(row, name, notes)
        if not words:
            return ()
        row = {"text": words[0]}
    else:
        notes.append(f"no text in '{name}': {shown(row)}")
        return ()
    return (Negative(row["text"], kind if isinstance(kind, str) else ""),)


def _negative_rows(negatives: tuple[Negative, ...]) -> list[dict[str, str]]:
    return [
        {"text": negative.text, "kind": negative.kind} if negative.kind else {"text": negative.text}
        for negative in negatives
    ]


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)
