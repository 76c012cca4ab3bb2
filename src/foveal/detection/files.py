"""Proposals that lie in files: a detector's, written once, and the boxes that annotators drew."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from ..data.formats.coco import Coco
from ..models.regions import TOLERANCE
from ..outside import shown
from ..writing import replacing
from .proposals import Photo, Proposals, no_proposals

SUFFIX = ".jsonl"


@dataclass(frozen=True)
class FromFile:
    """Proposals of a JSON Lines file: `{"id": "000000000139.jpg", "boxes": [[x0, y0, x1, y1], ...], "scores": [...]}`.

    A line for each picture, by its file's name; boxes in fractions of the picture turned upright.

    Attributes:
        path: The file.
    """

    path: Path

    def propose(self, pictures: Sequence[Photo], names: Sequence[Sequence[str]]) -> list[Proposals]:  # noqa: ARG002
        """Return the proposals that the file has of each picture.

        Raises:
            ValueError: If it has none of a picture, or a line is no proposals.
        """
        rows = _read(self.path, _changed(self.path))
        return [_of(rows, picture, self.path) for picture in pictures]

    @property
    def hash(self) -> str:
        """First letters of the file's SHA-256: a proposal file is part of a protocol."""
        return sha256(self.path.read_bytes()).hexdigest()[:12]


@dataclass(frozen=True)
class GroundTruth:
    """The boxes of an annotation file in COCO's format, each with a score of 1: recognition without localization.

    Attributes:
        path: The file.
    """

    path: Path

    def propose(self, pictures: Sequence[Photo], names: Sequence[Sequence[str]]) -> list[Proposals]:  # noqa: ARG002
        """Return the annotated boxes of each picture.

        Raises:
            ValueError: If the file knows nothing of a picture.
        """
        rows = _annotated(self.path, _changed(self.path))
        return [_of(rows, picture, self.path) for picture in pictures]


def write_proposals(path: Path, proposals: Iterable[tuple[str, Proposals]]) -> None:
    """Write proposals by file names of pictures, for `FromFile`."""
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for name, boxes in proposals:
            scores = [round(score, 5) for score in boxes.score.tolist()]
            corners = [[round(end, 5) for end in box] for box in boxes.boxes.tolist()]
            file.write(json.dumps({"id": name, "boxes": corners, "scores": scores}) + "\n")


def _of(rows: dict[str, Proposals], picture: Photo, path: Path) -> Proposals:
    if not isinstance(picture, Path):
        raise ValueError(f"{path} knows pictures by the names of their files. Give files, not pictures already open.")  # noqa: TRY004
    if picture.name not in rows:
        raise ValueError(f"{path} has no boxes of {picture.name}. Give the file that was made for these pictures.")
    return rows[picture.name]


def _changed(path: Path) -> int:
    """Return when a file was last written, so that what is remembered of it is not of an earlier one."""
    if not path.is_file():
        raise ValueError(f"There is no file {path} with boxes.")
    return path.stat().st_mtime_ns


@cache
def _read(path: Path, _: int) -> dict[str, Proposals]:
    rows = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                rows[str(row["id"])] = _proposals(row["boxes"], row["scores"])
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise ValueError(f"{path}, line {number}: no proposals ({shown(str(error))}).") from error
    return rows


def _proposals(boxes: Any, scores: Any) -> Proposals:
    """Return boxes and scores as a file has them as proposals, or refuse them."""
    if len(boxes) != len(scores):
        raise ValueError(f"{len(boxes)} boxes and {len(scores)} scores")
    if not all(isinstance(score, int | float) and isfinite(score) and 0 <= score <= 1 for score in scores):
        raise ValueError("a score is no number from 0 to 1")
    for x0, y0, x1, y1 in boxes:
        if not (-TOLERANCE <= x0 < x1 <= 1 + TOLERANCE and -TOLERANCE <= y0 < y1 <= 1 + TOLERANCE):
            raise ValueError(f"box [{x0:g}, {y0:g}, {x1:g}, {y1:g}] is none within the picture, in fractions of it")
    if not boxes:
        return no_proposals()
    return Proposals(torch.tensor(boxes, dtype=torch.float32).clamp(0, 1), torch.tensor(scores, dtype=torch.float32))


@cache
def _annotated(path: Path, _: int) -> dict[str, Proposals]:
    rows = {}
    for sample in Coco(path):
        if isinstance(sample.image, Path):
            boxes = [region.box for region in sample.regions]
            rows[sample.image.name] = _proposals(boxes, [1.0] * len(boxes))
    return rows
