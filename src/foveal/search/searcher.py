"""From a query to hits: a first pass by approximate search, then a rerank of the shortlist."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoder import Encoder, Picture
from ..types import Box, Hit, PhraseBox
from .background import SAMPLE, Usual, confidences
from .compare import (
    PARTS,
    Want,
    Yardstick,
    best_regions,
    measure_background,
    similarities,
    wants_of_pictures,
    wants_of_texts,
)
from .failures import reason_of
from .first_pass import FirstPass, Shortlist
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


@dataclass(frozen=True, eq=False)
class _Asked:
    """A query, what it looks for, and what it does not want."""

    query: Query
    plus: Sequence[Want]
    minus: Want | None

    @property
    def wants(self) -> list[Want]:
        return [*self.plus, *([] if self.minus is None else [self.minus])]


class Searcher:
    """An open index and the model it was made with. Safe to use from several threads.

    What is added to the index meanwhile is found after a few seconds. Where the index is deleted, or another takes its
    place, every method raises OSError with the number ESTALE: no answer is made of two indices.
    """

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
        self._yardstick, self._first_pass = (
            Yardstick.of(store, self._about.get("background", {}), WEIGHTS),
            FirstPass(store),
        )
        store.check(now=True)

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
        with self._same_index():
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
            ValueError: If the query is empty, its picture broken or its filter none.
        """
        return self.search_many([Query(text, image, box, exclude, where, k, mode)])[0]

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """Hits of many queries: what they hold is encoded together, and those that share a filter search together."""
        with self._same_index():
            return self._hits(self._asked(queries))

    def similar(self, picture: str | Picture, k: int = 20) -> list[Hit]:
        """Pictures like one of the index (by id or path), or like any other; the picture itself is left out."""
        with self._same_index():
            own = self._id(picture) if isinstance(picture, str | Path) else ""
            if not own:
                return self.search(image=picture, k=k)
            looks = self._store.looks_of([own])
            texts = ("",) * looks.regions.shape[1]
            want = Want(looks.embedding[0], looks.tokens[0], looks.regions[0], texts, "picture")
            hits = self._hits([_Asked(Query(image=b"", k=k + 1), [want], None)])[0]
            return [hit for hit in hits if hit.id != own][:k]

    def picture(self, picture_id: str) -> Path | bytes:
        """The original of a picture: its file, or its bytes where it lies in a shard.

        Raises:
            ValueError: If the index has no such picture, or its original is gone or must not be given out.
        """
        with self._same_index():
            path = self._store.rows([picture_id], ["path"])[0]["path"]
        return original(self._about["source"], path, outside=bool(self._about.get("outside")))

    def thumbnail(self, picture_id: str) -> bytes:
        """A small JPEG of a picture, from the index itself.

        Raises:
            ValueError: If the index has no such picture.
        """
        with self._same_index():
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

    @contextmanager
    def _same_index(self) -> Iterator[None]:
        """Let what is read pass only if all of it is of the index that was opened."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            self._store.check(now=True)
            reason = reason_of(error, self._store.name) if isinstance(error, RuntimeError) else ""
            if reason:
                raise OSError(reason) from error
            raise
        self._store.check()

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

    def _asked(self, queries: Sequence[Query]) -> list[_Asked]:
        """What queries look for; each text and all pictures are encoded once."""
        layout = self._store.layout
        texts = list(dict.fromkeys(text for each in queries for text in (each.text, each.exclude) if text.strip()))
        of_text = dict(zip(texts, wants_of_texts(self.encoder, texts), strict=True)) if texts else {}
        pictures = [(each.image, each.box) for each in queries if each.image is not None]
        of_pictures = iter(wants_of_pictures(self.encoder, pictures, layout.tokens, layout.regions))
        found = []
        for query in queries:
            plus = [of_text[query.text]] if query.text.strip() else []
            plus += [next(of_pictures)] if query.image is not None else []
            found.append(_Asked(query, plus, of_text.get(query.exclude)))
        return found

    def _measure(self) -> None:
        """See what is usual, where indexing was stopped before it could, or the index has grown much since."""
        if 2 * len(self._yardstick.looks) < min(SAMPLE, self.count):
            self._yardstick = Yardstick.of(self._store, measure_background(self._store, self.encoder), WEIGHTS)

    def _hits(self, asked: Sequence[_Asked]) -> list[list[Hit]]:
        """Hits of each; those that are asked alike are compared together."""
        self._measure()
        alike: dict[tuple[str, Mode, int], list[int]] = {}
        for at, each in enumerate(asked):
            limit = max(self.shortlist, 2 * each.query.k) * (1 if each.minus is None else 3)
            alike.setdefault((each.query.sql, each.query.mode, limit), []).append(at)
        hits: dict[int, list[Hit]] = {}
        for (where, mode, limit), places in alike.items():
            some = [asked[at] for at in places]
            shortlists = self._first_pass([each.plus for each in some], mode, where, limit)
            count = self._store.count(where)
            usual = iter(
                similarities([want for each in some for want in each.wants], self._yardstick.looks, PARTS[mode])
            )
            for at, each, shortlist, here in zip(
                places, some, shortlists, _compared(some, shortlists, mode), strict=True
            ):
                hits[at] = self._rank(each, shortlist, here, [next(usual) for _ in here], count)
        return [hits[at] for at in range(len(asked))]

    def _rank(
        self,
        asked: _Asked,
        shortlist: Shortlist,
        here: Sequence[dict[str, Tensor]],
        usual: Sequence[dict[str, Tensor]],
        count: int,
    ) -> list[Hit]:
        """The best of the shortlist. What is to be excluded counts against a picture as far as it stands out.

        Args:
            asked: The query.
            shortlist: Its pictures.
            here: How well these fit each of its wants.
            usual: How well the sample does.
            count: Pictures that were searched.
        """
        query, plus = asked.query, asked.plus
        scored = [self._yardstick.scores(*each, query.mode) for each in zip(asked.wants, here, usual, strict=True)]
        signed = [*scored[: len(plus)], *((-own.clamp(min=0), -back.clamp(min=0)) for own, back in scored[len(plus) :])]
        total, background = (torch.stack(each).sum(dim=0) for each in zip(*signed, strict=True))
        whole = sum(WEIGHTS[part] for part in PARTS[query.mode]) if len(PARTS[query.mode]) > 1 else 1.0
        scores = Usual.of(background, Usual(0.0, whole * len(plus))).standard(total)
        best = scores.sort(descending=True, stable=True).indices[: query.k]
        ways = plus[-1].ways(query.mode)
        rows, looks = shortlist.best(best)
        told = zip(
            rows,
            scores[best].tolist(),
            confidences(scores[best].tolist(), count),
            _boxes(plus[0], looks),
            torch.stack([here[len(plus) - 1][way][best] for way in ways], dim=1).tolist(),
            strict=True,
        )
        return [
            Hit(**row, score=score, confidence=sure, boxes=boxes, similarities=tuple(zip(ways, values, strict=True)))
            for row, score, sure, boxes, values in told
        ]


def _boxes(want: Want, looks: Looks) -> list[tuple[PhraseBox, ...]]:
    """The best box of each phrase in each picture; of a query by picture, the best box of all."""
    if not len(looks):
        return []
    texts, (values, boxes) = want.texts, best_regions(want, looks)
    if want.kind == "picture":
        best = values.argmax(dim=1, keepdim=True)
        texts, values, boxes = ("",), values.gather(1, best), boxes.gather(1, best[..., None].expand(-1, -1, 4))
    return [
        tuple(PhraseBox(text, as_box(box), value) for text, box, value in zip(texts, *found, strict=True))
        for found in zip(boxes.tolist(), values.tolist(), strict=True)
    ]


def _compared(asked: Sequence[_Asked], shortlists: Sequence[Shortlist], mode: Mode) -> list[list[dict[str, Tensor]]]:
    """How well the pictures of each shortlist fit each want of its query."""
    found = []
    for _, own in groupby(zip(asked, shortlists, strict=True), key=lambda each: id(each[1].looks)):  # some share theirs
        some, [shortlist, *_] = zip(*own, strict=True)
        alike = iter(similarities([want for each in some for want in each.wants], shortlist.looks, PARTS[mode]))
        found += [[next(alike) for _ in each.wants] for each in some]
    return found
