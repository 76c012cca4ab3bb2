"""The work behind the endpoints: check requests against the limits, run them through the batcher, return answers."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ESTALE
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter
from PIL import Image

from . import pictures
from .batcher import Batcher, Item, QueueFullError, Result, Work
from .budget import Budget
from .errors import RefusedError
from .metrics import Metrics
from .settings import Settings

if TYPE_CHECKING:  # these bring torch, which a file in serving does not
    from ..search.query import Query
    from ..types import Hit

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)
_REPLACED = "The index was replaced or deleted under the service. Restart the service."
_DECODERS = 2  # pictures decoded at once
_READERS = 4  # originals read at once from archives, where their size is known only then
_FETCHERS = 16  # pictures fetched at once; other work in threads does not wait for them


@runtime_checkable
class SearcherProtocol(Protocol):
    """Interface of an open index. `foveal.search.Searcher` is one."""

    @property
    def count(self) -> int:
        """Number of pictures in the index."""

    @property
    def model_name(self) -> str:
        """Name of the model that the index was made with."""

    def search_many(self, queries: "Sequence[Query]") -> "list[list[Hit]]":
        """Return hits of each query, best first."""

    def similar(self, picture: Any, k: int) -> "list[Hit]":
        """Return pictures like one of the index (by id) or like any other."""

    def picture(self, id_: str, /) -> Path | bytes:
        """Return the original of a picture."""

    def thumbnail(self, id_: str, /) -> bytes:
        """Return a small JPEG of a picture."""

    def explain(self, hit: Any, phrases: Sequence[str]) -> Sequence[Any]:
        """Return where in a picture phrases are."""


@runtime_checkable
class TokenCounter(Protocol):
    """Interface of a token counter. `foveal`'s tokenizers are such."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""


@runtime_checkable
class EncoderProtocol(Protocol):
    """Interface of a model's encoder. `foveal.Encoder` is one."""

    @property
    def tokenizer(self) -> TokenCounter:
        """Counter of tokens for `usage`."""

    def text_kinds(self, texts: Sequence[str]) -> Sequence[str]:
        """Return what each text is read as where nobody says."""

    def encode_texts(self, texts: Sequence[str], kind: Any = "caption") -> Any:
        """Return one embedding per text."""

    def encode_images(self, pictures: Sequence[Any]) -> Any:
        """Return one embedding per picture."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embedding of one input.

    Attributes:
        row: Of unit length, float32.
        tokens: Of a text; 0 for a picture.
    """

    row: np.ndarray
    tokens: int = 0


@dataclass(frozen=True)
class Search:
    """Searches by queries of any sort, encoded together.

    Those of one filter share a batch, so that a filter that is no SQL fails no other's.
    """

    searcher: SearcherProtocol
    where: str

    def __call__(self, queries: "Sequence[Query]") -> "list[list[Hit]]":
        """Return hits of each query."""
        return self.searcher.search_many(queries)


@dataclass(frozen=True)
class Similar:
    """Searches for pictures like others."""

    searcher: SearcherProtocol
    k: int

    def __call__(self, queries: Sequence[Any]) -> "list[list[Hit]]":
        """Return hits of each picture, or id."""
        return [self.searcher.similar(query, self.k) for query in queries]


@dataclass(frozen=True)
class Explain:
    """Boxes and heat maps of phrases in pictures."""

    searcher: SearcherProtocol

    def __call__(self, pairs: Sequence[tuple[str, tuple[str, ...]]]) -> list[Sequence[Any]]:
        """Return explanations of each pair of id and phrases."""
        return [self.searcher.explain(picture, phrases) for picture, phrases in pairs]


@dataclass(frozen=True)
class EncodeTexts:
    """Embeddings of texts, of one kind or, with None, each of the kind that the model takes it for."""

    encoder: EncoderProtocol
    kind: str | None

    def __call__(self, texts: Sequence[str]) -> list[Embedded]:
        """Return one embedding per text, with its number of tokens."""
        kinds = [self.kind] * len(texts) if self.kind else self.encoder.text_kinds(texts)
        rows: dict[int, np.ndarray] = {}
        for kind in dict.fromkeys(kinds):
            places = [place for place, text_kind in enumerate(kinds) if text_kind == kind]
            embeddings = np.asarray(
                self.encoder.encode_texts([texts[place] for place in places], kind), dtype=np.float32
            )
            rows.update(zip(places, embeddings, strict=True))
        return [Embedded(rows[place], tokens) for place, tokens in enumerate(self.encoder.tokenizer.count(texts))]


@dataclass(frozen=True)
class EncodeImages:
    """Embeddings of pictures."""

    encoder: EncoderProtocol

    def __call__(self, images: Sequence[Any]) -> list[Embedded]:
        """Return one embedding per picture."""
        return [Embedded(row) for row in np.asarray(self.encoder.encode_images(images), dtype=np.float32)]


class Service:
    """One searcher and one encoder behind limits and a batcher. Endpoints read, call one of these, and answer."""

    def __init__(self, searcher: SearcherProtocol, encoder: EncoderProtocol, settings: Settings) -> None:
        """Start the batcher.

        Args:
            searcher: Finds pictures.
            encoder: Embeds texts and pictures.
            settings: Limits and batching.
        """
        self.searcher = searcher
        self.encoder = encoder
        self.settings = settings
        self.limits = settings.limits
        self.metrics = Metrics()
        self.batcher = Batcher(settings.batching, self.metrics.batch)
        self.metrics.watch(self.batcher, self._count)
        self.started = int(time.time())
        self._room = Budget(self.limits.picture_bytes)
        self._decoders, self._readers = CapacityLimiter(_DECODERS), CapacityLimiter(_READERS)
        self._fetchers = CapacityLimiter(_FETCHERS)

    def _count(self) -> float:
        """Return the number of pictures in the index; NaN if it cannot be read."""
        try:
            return float(self.searcher.count)
        except (OSError, RuntimeError, ValueError):
            return math.nan

    @property
    def model_name(self) -> str:
        """Name of the model; of a folder on this machine, its last step."""
        name = self.searcher.model_name
        return Path(name).name if Path(name).is_absolute() or Path(name).exists() else name

    async def compute(
        self, work: Work[Item, Result], items: Sequence[Item], refusal: RefusedError | None = None
    ) -> list[Result]:
        """Run items in a shared batch and return their results.

        Args:
            work: What to do.
            items: What to do it with.
            refusal: Raised where the work finds the input wrong. None: 400 with what the work says.

        Raises:
            RefusedError: 429 if there is no room, 503 if the index was replaced, or the refusal.
        """
        try:
            with _unless_replaced():
                return await self.batcher.run(work, items)
        except QueueFullError as error:
            raise RefusedError(429, str(error), error.retry_after) from error
        except ValueError as error:
            raise refusal or RefusedError(400, str(error)) from error

    async def thumbnail(self, picture_id: str) -> bytes:
        """Return a small JPEG of a picture.

        Raises:
            RefusedError: 404 if there is none, 503 if the index was replaced.
        """
        return await _in_thread(self.searcher.thumbnail, picture_id, missing=unknown(picture_id), signs=(ValueError,))

    async def decode(self, content: Path | bytes, longest_side: int | None = None) -> Image.Image:
        """Check and decode a picture in a thread, a few at once."""
        return await anyio.to_thread.run_sync(
            pictures.decode, content, self.limits, self._room, longest_side, limiter=self._decoders
        )

    async def fetch(self, url: str) -> bytes:
        """Return a picture's bytes, from base64 text, a data URL or an allowed host."""
        if url.startswith(("http:", "https:")):
            hosts = self.settings.image_hosts
            return await anyio.to_thread.run_sync(pictures.from_url, url, hosts, self.limits, limiter=self._fetchers)
        return pictures.from_base64(url, "The picture")

    async def original(self, picture_id: str, side: int | None) -> tuple[Path | bytes, str]:
        """Return a picture's original and its media type; or a JPEG of it, upright, with no side longer than asked.

        Raises:
            RefusedError: 404 if there is none, or it is no picture any more.
        """
        gone = RefusedError(404, f"The index has no picture '{picture_id}', or its original is gone.")
        original = await _in_thread(self.searcher.picture, picture_id, missing=gone, limiter=self._readers)
        kind = await _in_thread(_media_type, original, missing=gone)
        if side is None and kind is not None:
            return original, kind
        try:
            picture = await self.decode(original, side)
        except RefusedError as error:
            if error.status != 400:
                raise
            raise gone from error
        return await anyio.to_thread.run_sync(_jpeg, picture, side, limiter=self._decoders), "image/jpeg"

    async def embed(self, inputs: Sequence[str | Image.Image], kind: str | None) -> list[Embedded]:
        """Embed texts and pictures, in order."""
        groups: dict[Work[Any, Embedded], list[int]] = {}
        for position, text_or_image in enumerate(inputs):
            groups.setdefault(self._encoding(text_or_image, kind), []).append(position)
        rows: dict[int, Embedded] = {}
        for work, positions in groups.items():
            rows.update(
                zip(positions, await self.compute(work, [inputs[position] for position in positions]), strict=True)
            )
        return [rows[position] for position in range(len(inputs))]

    def _encoding(self, text_or_image: str | Image.Image, kind: str | None) -> Work[Any, Embedded]:
        if not isinstance(text_or_image, str):
            return EncodeImages(self.encoder)
        return EncodeTexts(self.encoder, kind)

    def check_texts(self, texts: Sequence[str]) -> None:
        """Refuse texts that are too long or no text.

        Raises:
            RefusedError: 413 if one is too long, 400 if one cannot be written in UTF-8.
        """
        for text in texts:
            if len(text) > self.limits.characters:
                raise RefusedError(413, f"A text of {len(text)} characters is longer than {self.limits.characters}.")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise RefusedError(400, "A text holds half of a surrogate pair, which is no character.") from error

    def check_count(self, count: int, unit: str) -> None:
        """Refuse too many of something.

        Raises:
            RefusedError: 413.
        """
        if count > self.limits.inputs:
            raise RefusedError(413, f"{count} {unit} are more than {self.limits.inputs}. Send several requests.")

    def bounded(self, k: int, unit: str = "hits") -> int:
        """Return how many results were asked for.

        Raises:
            RefusedError: 413 if they are too many.
        """
        if k > self.limits.results:
            raise RefusedError(413, f"k={k} is more than {self.limits.results} {unit}.")
        return k


def unknown(picture_id: str) -> RefusedError:
    """Return the refusal of an id that the index does not have."""
    return RefusedError(404, f"The index has no picture '{picture_id}'.")


@contextmanager
def _unless_replaced() -> Iterator[None]:
    """Refuse with 503 if the index is another than the one that was opened."""
    try:
        yield
    except OSError as error:
        if error.errno != ESTALE:
            raise
        raise RefusedError(503, _REPLACED) from error


async def _in_thread(
    work: Callable[..., Answer],
    argument: Any,
    missing: RefusedError,
    signs: tuple[type[Exception], ...] = (ValueError, OSError),
    limiter: CapacityLimiter | None = None,
) -> Answer:
    """Return what work gives in a thread. If these errors say that there is nothing, the client hears only that."""
    try:
        with _unless_replaced():
            return await anyio.to_thread.run_sync(work, argument, limiter=limiter, abandon_on_cancel=True)
    except signs as error:
        logger.info("%s (%s)", missing.message, error)
        raise missing from error


def _media_type(original: Path | bytes) -> str | None:
    """Return the media type of an original; None if browsers do not show it."""
    file = BytesIO(original) if isinstance(original, bytes) else original
    try:
        with Image.open(file, formats=[*pictures.FORMATS, *pictures.OTHER_FORMATS]) as picture:
            return pictures.FORMATS.get(picture.format or "")
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error


def _jpeg(picture: Image.Image, side: int | None) -> bytes:
    if side is not None:
        picture.thumbnail((side, side))
    content = BytesIO()
    picture.save(content, "JPEG", quality=88)
    return content.getvalue()
