"""Search an index: a first pass by approximate search, then a rerank of the shortlist."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..encoder import Encoder, Picture
from ..encoder.precision import Precision
from ..encoder.proposals import best_windows
from ..types import Box, Hit, PhraseBox
from .background import SAMPLE, Baseline, confidences
from .failures import reason_of
from .fingerprint import looks_alike, reads_alike
from .first_pass import FirstPass, Shortlist
from .query import Query
from .scoring import (
    BaselineScorer,
    EncodedQuery,
    best_regions,
    encode_image_queries,
    encode_text_queries,
    image_queries,
    measure_background,
    similarities,
)
from .sources import id_of, original
from .store import Store
from .store.features import Features, as_box

SHORTLIST = 200
"""Images that the first pass hands on to be compared in full."""


@dataclass(frozen=True)
class Explanation:
    """The place of a phrase in a picture.

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
class _Search:
    """A query with its encoded parts: those that hits should fit, and the one that they should not."""

    query: Query
    plus: Sequence[EncodedQuery]
    minus: EncodedQuery | None

    @property
    def encoded(self) -> list[EncodedQuery]:
        return [*self.plus, *([] if self.minus is None else [self.minus])]


class Searcher:
    """An open index and the model it was made with. Safe to use from several threads.

    What is added to the index meanwhile is found after a few seconds. Where the index is deleted, or another takes its
    place, every method raises OSError with the number ESTALE: no answer is made of two indices.
    """

    def __init__(self, store: Store, encoder: Encoder, *, shortlist: int = SHORTLIST, accuracy: float = 1.0) -> None:
        """Tie an index to its model. `open` does so from names.

        Args:
            store: The index.
            encoder: The model that it was made with.
            shortlist: Pictures that are compared in full.
            accuracy: In large indices, how many times as many pictures are looked at closely, before that, as by
                default. Less is faster, more finds more of the best.

        Raises:
            ValueError: If the encoder is another model.
        """
        self._facts = store.facts
        self.encoder, self.shortlist, self._store = encoder, shortlist, store
        self._check(reads_alike)
        self._knows_pictures = False
        self._scorer, self._first_pass = (
            BaselineScorer.of(store, self._facts.get("background", {})),
            FirstPass(store, accuracy),
        )
        store.check(now=True)

    @classmethod
    def open(
        cls,
        index: str | Path,
        encoder: Encoder | None = None,
        *,
        model: str | None = None,
        dtype: Precision | None = None,
        accuracy: float = 1.0,
    ) -> "Searcher":
        """Open an index that `foveal index` made.

        Args:
            index: Its folder or object-store URI.
            encoder: The model that it was made with. None: it is loaded.
            model: Where to load it from. None: by the name that the index holds.
            dtype: Its precision. None: that of the index.
            accuracy: As above.

        Raises:
            ValueError: If there is no index, or the encoder is another model.
        """
        store = Store.open(index)
        if encoder is None:
            from ..encoder.load import load

            encoder = load(model or store.facts["model"], dtype=dtype or store.facts.get("precision", "fp32"))
        return cls(store, encoder, accuracy=accuracy)

    @property
    def count(self) -> int:
        """Number of pictures in the index."""
        with self._same_index():
            return self._store.count()

    @property
    def model_name(self) -> str:
        """Name of the model that the index was made with."""
        return str(self._facts["model"])

    def search(
        self,
        text: str = "",
        image: Picture | None = None,
        box: Box | None = None,
        exclude: str = "",
        where: str = "",
        k: int = 20,
        mode: str = "fused",
    ) -> list[Hit]:
        """Return the k best pictures for a text, a picture, a box in a picture, or a text and a picture together.

        Arguments are `Query`'s.

        Raises:
            ValueError: If the query is empty, its picture broken or its filter none.
        """
        return self.search_many([Query(text, image, box, exclude, where, k, mode)])[0]

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """Return hits of many queries, encoded together. Those that share a filter search together."""
        with self._same_index():
            return self._hits(self._encode(queries))

    def similar(self, picture: str | Picture, k: int = 20) -> list[Hit]:
        """Return pictures like one of the index (by id or path), or like any other, without the picture itself."""
        with self._same_index():
            own_id = self._id(picture) if isinstance(picture, str | Path) else ""
            if not own_id:
                return self.search(image=picture, k=k)
            query = image_queries(self._store.features_of([own_id]))[0]
            hits = self._hits([_Search(Query(image=b"", k=k + 1), [query], None)])[0]
            return [hit for hit in hits if hit.id != own_id][:k]

    def picture(self, picture_id: str) -> Path | bytes:
        """Return the original of a picture: its file, or its bytes where it lies in a shard.

        Raises:
            ValueError: If the index has no such picture, or its original is gone or must not be given out.
        """
        with self._same_index():
            path = self._store.rows([picture_id], ["path"])[0]["path"]
        return original(self._facts["source"], path, outside=bool(self._facts.get("outside")))

    def thumbnail(self, picture_id: str) -> bytes:
        """Return a small JPEG of a picture, from the index itself.

        Raises:
            ValueError: If the index has no such picture.
        """
        with self._same_index():
            return bytes(self._store.rows([picture_id], ["thumbnail"])[0]["thumbnail"])

    def explain(self, hit: Hit | str, phrases: Sequence[str] = ()) -> list[Explanation]:
        """Return the best box and a heat map of each phrase in a picture, from its original, encoded again.

        Where the original is gone, the thumbnail is used.

        Args:
            hit: A hit or a picture's id.
            phrases: Texts to look for. Empty: those of the hit's boxes.
        """
        if not phrases and isinstance(hit, Hit):
            phrases = [phrase_box.phrase for phrase_box in hit.boxes if phrase_box.phrase]
        if not phrases:
            return []
        image_id = hit.id if isinstance(hit, Hit) else hit
        try:
            picture = self.picture(image_id)
        except ValueError:
            picture = self.thumbnail(image_id)
        patches = self.encoder.encode_images_fully([picture], boxes=[()], patches=True).patches  # boxes: nothing is cut
        assert patches is not None
        grid = patches[0]
        texts = self.encoder.encode_texts(phrases, "phrase")
        boxes, cosines = best_windows(grid, texts)
        heat = (grid @ texts.T).permute(2, 0, 1)
        low, high = heat.amin(dim=(1, 2), keepdim=True), heat.amax(dim=(1, 2), keepdim=True)
        heat = (heat - low) / (high - low).clamp(min=1e-6)
        return [
            Explanation(phrase, as_box(boxes[number]), float(cosines[number]), heat[number])
            for number, phrase in enumerate(phrases)
        ]

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
        """Return the id of an indexed picture, given by id or path; empty if the index has none of this name."""
        name = str(picture)
        inside = Path(name).absolute()
        source = Path(self._facts["source"])
        names = [
            name,
            id_of(name),
            *([id_of(inside.relative_to(source).as_posix())] if inside.is_relative_to(source) else []),
        ]
        return next(
            (candidate for candidate in names if candidate.isalnum() and self._store.count(f"id = '{candidate}'")), ""
        )

    def _check(self, alike: Callable[[Encoder, Sequence[Sequence[float]]], bool]) -> None:
        """Refuse a model that is not the index's.

        Raises:
            ValueError: If it gives other embeddings.
        """
        if not alike(self.encoder, self._facts["probe"]):
            raise ValueError(
                f"'{self._store.name}' was made with the model '{self.model_name}', and this is another one."
                " Open it with that model, or index again."
            )

    def _encode(self, queries: Sequence[Query]) -> list[_Search]:
        """Encode queries: each distinct text once, and all pictures together."""
        layout = self._store.layout
        texts = list(dict.fromkeys(text for query in queries for text in (query.text, query.exclude) if text.strip()))
        of_text = dict(zip(texts, encode_text_queries(self.encoder, texts), strict=True)) if texts else {}
        pictures = [(query.image, query.box) for query in queries if query.image is not None]
        if pictures and not self._knows_pictures:  # not before: whoever searches by texts needs no picture tower
            self._check(looks_alike)
            self._knows_pictures = True
        of_pictures = iter(encode_image_queries(self.encoder, pictures, layout.tokens, layout.regions))
        searches = []
        for query in queries:
            plus = [of_text[query.text]] if query.text.strip() else []
            plus += [next(of_pictures)] if query.image is not None else []
            searches.append(_Search(query, plus, of_text.get(query.exclude)))
        return searches

    def _measure(self) -> None:
        """Measure the baseline where the index has none of these scores, or has grown much since."""
        if 2 * len(self._scorer.features) < min(SAMPLE, self.count):
            self._scorer = BaselineScorer.of(self._store, measure_background(self._store, self.encoder))

    def _hits(self, searches: Sequence[_Search]) -> list[list[Hit]]:
        """Return hits of each search. Those with the same filter, mode and limit are compared together."""
        self._measure()
        groups: dict[tuple[str, str, int], list[int]] = {}
        for position, search in enumerate(searches):
            limit = max(self.shortlist, 2 * search.query.k) * (1 if search.minus is None else 3)
            groups.setdefault((search.query.sql, search.query.mode, limit), []).append(position)
        hits: dict[int, list[Hit]] = {}
        for (where, mode, limit), positions in groups.items():
            group = [searches[position] for position in positions]
            shortlists = self._first_pass([search.plus for search in group], mode, where, limit)
            count = self._store.count(where)
            sample_similarities = iter(
                similarities([query for search in group for query in search.encoded], self._scorer.features, mode)
            )
            for position, search, shortlist, image_similarities in zip(
                positions, group, shortlists, _compared(group, shortlists, mode), strict=True
            ):
                hits[position] = self._rank(
                    search,
                    shortlist,
                    image_similarities,
                    [next(sample_similarities) for _ in image_similarities],
                    count,
                )
        return [hits[position] for position in range(len(searches))]

    def _rank(
        self,
        search: _Search,
        shortlist: Shortlist,
        image_similarities: Sequence[Tensor],
        sample_similarities: Sequence[Tensor],
        count: int,
    ) -> list[Hit]:
        """Return the best of the shortlist. The excluded text counts against a picture as far as it stands out.

        Args:
            search: The query and its encoded parts.
            shortlist: Its pictures.
            image_similarities: Of these pictures, for each encoded part.
            sample_similarities: Of the sample, likewise.
            count: Pictures that were searched.
        """
        query, plus = search.query, search.plus
        scored = [
            self._scorer.z_scores(encoded, query.mode, *pair)
            for encoded, *pair in zip(search.encoded, image_similarities, sample_similarities, strict=True)
        ]
        signed = [
            *scored[: len(plus)],
            *((-total.clamp(min=0), -sample.clamp(min=0)) for total, sample in scored[len(plus) :]),
        ]
        total, sample_total = (torch.stack(parts).sum(dim=0) for parts in zip(*signed, strict=True))
        scores = Baseline.of(sample_total, Baseline(0.0, float(len(plus)))).z_scores(total)
        best = scores.sort(descending=True, stable=True).indices[: query.k]
        mode = plus[-1].mode(query.mode)
        rows, features = shortlist.best(best)
        fields = zip(
            rows,
            scores[best].tolist(),
            confidences(scores[best].tolist(), count),
            _boxes(plus[0], features),
            image_similarities[len(plus) - 1][best].tolist(),
            strict=True,
        )
        return [
            Hit(**row, score=score, confidence=sure, boxes=boxes, similarities=((mode, similarity),))
            for row, score, sure, boxes, similarity in fields
        ]


def _boxes(query: EncodedQuery, features: Features) -> list[tuple[PhraseBox, ...]]:
    """Return the best box of each phrase in each picture; of a query by picture, the best box of all."""
    if not len(features):
        return []
    texts, (values, boxes) = query.texts, best_regions(query, features)
    if query.kind != "text":
        best = values.argmax(dim=1, keepdim=True)
        texts, values, boxes = ("",), values.gather(1, best), boxes.gather(1, best[..., None].expand(-1, -1, 4))
    return [
        tuple(PhraseBox(text, as_box(box), value) for text, box, value in zip(texts, *row, strict=True))
        for row in zip(boxes.tolist(), values.tolist(), strict=True)
    ]


def _compared(searches: Sequence[_Search], shortlists: Sequence[Shortlist], mode: str) -> list[list[Tensor]]:
    """Return the similarities of each shortlist's pictures to each encoded part of its query."""
    compared = []
    for _, group in groupby(
        zip(searches, shortlists, strict=True), key=lambda pair: id(pair[1].features)
    ):  # some share one
        group_searches, [shortlist, *_] = zip(*group, strict=True)
        values = iter(
            similarities([query for search in group_searches for query in search.encoded], shortlist.features, mode)
        )
        compared += [[next(values) for _ in search.encoded] for search in group_searches]
    return compared
