"""Queries to an index, and reading them from text."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..encoder import Picture
from ..encoder.scores import SCORES, Needs, Score
from ..types import Box
from .where import sql_of

KEPT: Needs = frozenset({"tokens", "regions", "phrases"})
"""What an index keeps of its images beside whole embeddings, and what a query is encoded as."""
MODES: Mapping[str, Score] = MappingProxyType({name: score for name, score in SCORES.items() if score.needs <= KEPT})
"""The encoder's scores that an index can answer: all but those that compare every patch."""


@dataclass(frozen=True)
class Query:
    """One search. At least one of text and image is given; with both, a picture should fit both.

    Attributes:
        text: Words, a phrase or a long description.
        image: A picture to search by.
        box: (x0, y0, x1, y1) in fractions of `image`: search by what it shows alone.
        exclude: A text that hits should not fit.
        where: A filter on the index's columns, such as "width >= 640 and path like 'holiday/%'": comparisons, LIKE, IN,
            BETWEEN and IS NULL, joined by AND, OR and NOT.
        k: Hits wanted.
        mode: The encoder's score that pictures are compared by: "global" (whole with whole), "late" (token sets),
            "fused" (both) or "region" (phrases with boxes).
    """

    text: str = ""
    image: Picture | None = None
    box: Box | None = None
    exclude: str = ""
    where: str = ""
    k: int = 20
    mode: str = "fused"

    def __post_init__(self) -> None:
        if not self.text.strip() and self.image is None:
            raise ValueError("The query is empty. Give a text, a picture or both.")
        if self.box is not None and self.image is None:
            raise ValueError(f"Box {self.box} has no picture to lie in. Give the picture too.")
        if self.k < 1:
            raise ValueError(f"k is a number of hits, at least 1, not {self.k}.")
        if self.mode not in MODES:
            raise ValueError(f"Mode '{self.mode}' is unknown. Known: {', '.join(MODES)}.")
        sql_of(self.where)

    @property
    def sql(self) -> str:
        """Return the filter as the index gets it, written anew from what `where` means."""
        return sql_of(self.where)


def parse_box(text: str) -> Box | None:
    """Return the box that "x0,y0,x1,y1" stands for; None for an empty text.

    Raises:
        ValueError: If it is no box in fractions of a picture.
    """
    if not text.strip():
        return None
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        x0 = x1 = y0 = y1 = 0.0
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(
            f"Box '{text}' is none. Give x0,y0,x1,y1 in fractions of the picture, such as 0.1,0.2,0.5,0.9."
        )
    return x0, y0, x1, y1


def read_texts(text: str) -> list[str]:
    """Return a text, or the lines of the file that "@file" names.

    Raises:
        ValueError: If the file holds no text.
    """
    if not text.startswith("@"):
        return [text]
    lines = [line for line in Path(text[1:]).read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"'{text[1:]}' holds no text to search for. Write one a line.")
    return lines
