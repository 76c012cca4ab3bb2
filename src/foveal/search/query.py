"""Queries to an index."""

from collections.abc import Mapping
from dataclasses import dataclass
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
