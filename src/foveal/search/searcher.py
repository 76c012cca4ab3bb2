"""From a query to hits: a first pass by approximate search, then a rerank of the shortlist."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoder import Encoder, Picture
from ..types import Box, Hit, PhraseBox
from .background import Usual, confidences
from .compare import PARTS, Want, Yardstick, best_regions, want_of_picture, wants_of_texts
from .first_pass import FirstPass
from .query import Mode, Query
from .regions import best_windows
from .rows import same_model
from .sources import id_of, original
from .store import Looks, Store, as_box

SHORTLIST = 200
"""Pictures that the first pass hands on to be compared in full."""
WEIGHTS = {"global": 1.0, "late": 0.5, "region": 0.5}
"""Of the three similarities in mode "fused"; each is in standard deviations of unrelated pictures before."""


@dataclass(frozen=True)
class Explanation:
    """Where in a picture a phrase is.

    Attributes:
        phrase: A part of the query's text.
        box: (x0, y0, x1, y1) in fractions of the picture.
        similarity: Cosine of the phrase and what the box shows.
        heat: Of each cell of the picture's grid, from 0 (its coldest) to 1 (its hottest); rows from the top.
    """

    phrase: str
    box: Box
    similarity: float
    heat: Float[Tensor, "Y X"]


class Searcher:
    """An open index and the model it was made with. Safe to use from several threads."""

    def __init__(self, store: Store, encoder: Encoder, *, shortlist: int = SHORTLIST) -> None:
        """Tie an index to its model. `open` does so from names.

        Args:
            store: The index.
            encoder: The model that it was made with.
            shortlist: Pictures that are compared in full.

        Raises:
            ValueError: If the encoder is another model.
        """
        self._about = store.about
        if not same_model(encoder, self._about["probe"]):
            raise ValueError(
                f"'{store.name}' was made with the model '{self.model_name}', and this is another one."
                " Open it with that model, or index again."
            )
        self.encoder, self.shortlist, self._store = encoder, shortlist, store
        self._yardstick, self._first_pass = Yardstick.of(store, WEIGHTS), FirstPass(store)

    @classmethod
    def open(cls, index: str | Path, encoder: Encoder | None = None) -> "Searcher":
        """Open an index that `foveal index` made.

        Args:
            index: Its folder or object-store URI.
            encoder: The model that it was made with. None: it is loaded by the name that the index holds.

        Raises:
            ValueError: If there is no index, or the encoder is another model.
        """
        store = Store.open(index)
        if encoder is None:
            from ..encoder.load import load

            encoder = load(store.about["model"])
        return cls(store, encoder)

    @property
    def count(self) -> int:
        """How many pictures the index holds."""
        return self._store.count()

    @property
    def model_name(self) -> str:
        """The model that the index was made with."""
        return str(self._about["model"])

    def search(
        self,
        text: str = "",
        image: Picture | None = None,
        box: Box | None = None,
        exclude: str = "",
        where: str = "",
        k: int = 20,
        mode: Mode = "fused",
    ) -> list[Hit]:
        """The k best pictures for a text, a picture, a box in a picture, or a text and a picture together.

        Arguments are `Query`'s.

        Raises:
            ValueError: If the query is empty, its picture broken or its filter no SQL over known columns.
        """
        return self.search_many([Query(text, image, box, exclude, where, k, mode)])[0]

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """Hits of many queries, whose texts are encoded together."""
        texts = list(dict.fromkeys(text for each in queries for text in (each.text, each.exclude) if text.strip()))
        wants = dict(zip(texts, wants_of_texts(self.encoder, texts), strict=True)) if texts else {}
        return [self._hits(query, wants) for query in queries]

    def similar(self, picture: str | Picture, k: int = 20) -> list[Hit]:
        """Pictures like one of the index (by id or path), or like any other; the picture itself is left out."""
        own = self._id(picture) if isinstance(picture, str | Path) else ""
        if not own:
            return self.search(image=picture, k=k)
        looks = self._store.looks_of([own])
        want = Want(looks.embedding[0], looks.tokens[0], looks.regions[0], ("",) * looks.regions.shape[1], "picture")
        hits = self._rank([want], None, Query(image=b"", k=k + 1))
        return [hit for hit in hits if hit.id != own][:k]

    def picture(self, picture_id: str) -> Path | bytes:
        """The original of a picture: its file, or its bytes where it lies in a shard.

        Raises:
            ValueError: If the index has no such picture, or its original is gone.
        """
        return original(self._about["source"], self._store.rows([picture_id], ["path"])[0]["path"])

    def thumbnail(self, picture_id: str) -> bytes:
        """A small JPEG of a picture, from the index itself.

        Raises:
            ValueError: If the index has no such picture.
        """
        return bytes(self._store.rows([picture_id], ["thumbnail"])[0]["thumbnail"])

    def explain(self, hit: Hit | str, phrases: Sequence[str] = ()) -> list[Explanation]:
        """Where in a picture phrases are: the best box and a heat map for each, from a fresh look at the original.

        Where the original is gone, the thumbnail is looked at.

        Args:
            hit: A hit or a picture's id.
            phrases: Texts to look for. Empty: those of the hit's boxes.
        """
        if not phrases and isinstance(hit, Hit):
            phrases = [each.phrase for each in hit.boxes if each.phrase]
        if not phrases:
            return []
        own = hit.id if isinstance(hit, Hit) else hit
        try:
            picture = self.picture(own)
        except ValueError:
            picture = self.thumbnail(own)
        patches = self.encoder.encode_images_fully([picture], boxes=[()], patches=True).patches  # boxes: nothing is cut
        assert patches is not None
        grid = patches[0]
        texts = self.encoder.encode_texts(phrases, "phrase")
        boxes, alike = best_windows(grid, texts)
        heat = (grid @ texts.T).permute(2, 0, 1)
        low, high = heat.amin(dim=(1, 2), keepdim=True), heat.amax(dim=(1, 2), keepdim=True)
        heat = (heat - low) / (high - low).clamp(min=1e-6)
        return [Explanation(phrase, as_box(boxes[at]), float(alike[at]), heat[at]) for at, phrase in enumerate(phrases)]

    def _id(self, picture: str | Path) -> str:
        """The id of a picture of the index that is named by id or path; empty if it holds none of this name."""
        name = str(picture)
        inside = Path(name).absolute()
        source = Path(self._about["source"])
        names = [
            name,
            id_of(name),
            *([id_of(inside.relative_to(source).as_posix())] if inside.is_relative_to(source) else []),
        ]
        return next((each for each in names if each.isalnum() and self._store.count(f"id = '{each}'")), "")

    def _hits(self, query: Query, wants: dict[str, Want]) -> list[Hit]:
        layout = self._store.layout
        plus = [wants[query.text]] if query.text.strip() else []
        if query.image is not None:
            plus.append(want_of_picture(self.encoder, query.image, query.box, layout.tokens, layout.regions))
        return self._rank(plus, wants.get(query.exclude), query)

    def _rank(self, plus: Sequence[Want], minus: Want | None, query: Query) -> list[Hit]:
        """The best of the shortlist. What is to be excluded counts against a picture as far as it stands out."""
        limit = max(self.shortlist, 2 * query.k) * (1 if minus is None else 3)
        rows = self._first_pass(plus, query.mode, query.where, limit)
        looks = self._store.looks(rows)
        total, background = torch.zeros(len(looks)), torch.zeros(len(self._yardstick.looks))
        parts: dict[str, Tensor] = {}
        for want in plus:
            own, usual, parts = self._yardstick.scores(want, looks, query.mode)
            total, background = total + own, background + usual
        if minus is not None:
            own, usual, _ = self._yardstick.scores(minus, looks, query.mode)
            total, background = total - own.clamp(min=0), background - usual.clamp(min=0)
        whole = sum(WEIGHTS[part] for part in PARTS[query.mode]) if len(PARTS[query.mode]) > 1 else 1.0
        scores = Usual.of(background, Usual(0.0, whole * len(plus))).standard(total)
        best = scores.sort(descending=True, stable=True).indices[: query.k]
        sure = confidences(scores[best].tolist(), self._store.count(query.where))
        chosen = Looks(*(field[best] for field in looks.fields()))
        boxes = self._boxes(plus[0], chosen)
        return [
            Hit(
                **row,
                score=float(scores[at]),
                confidence=sure[rank],
                boxes=boxes[rank],
                similarities=tuple((part, float(values[at])) for part, values in parts.items()),
            )
            for rank, (at, row) in enumerate(zip(best.tolist(), _told(rows, best), strict=True))
        ]

    def _boxes(self, want: Want, looks: Looks) -> list[tuple[PhraseBox, ...]]:
        """The best box of each phrase in each picture; of a query by picture, the best box of all."""
        if not len(looks):
            return []
        values, boxes = best_regions(want, looks)
        if want.kind == "picture":
            best = values.argmax(dim=1)
            return [(PhraseBox("", as_box(boxes[n, at]), float(values[n, at])),) for n, at in enumerate(best.tolist())]
        return [
            tuple(
                PhraseBox(text, as_box(box), float(value)) for text, box, value in zip(want.texts, *each, strict=True)
            )
            for each in zip(boxes, values, strict=True)
        ]


def _told(rows: Any, best: Tensor) -> list[dict[str, Any]]:
    """What a hit says of each picture besides its score."""
    rows = rows.select(["id", "path", "width", "height", "caption"]).take(best.numpy())
    return list(rows.to_pylist())
