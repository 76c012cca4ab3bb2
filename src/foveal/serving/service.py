"""What the endpoints do: requests in, checked against the limits, through the batcher, answers out."""

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
_LONG = 60  # words, beyond which a text is a long caption
_REPLACED = "The index was replaced or deleted under the service. Restart the service."
_DECODERS = 2  # pictures decoded at once
_READERS = 4  # originals read at once from archives, where their size is known only then
_FETCHERS = 16  # pictures fetched at once; other work in threads does not wait for them


@runtime_checkable
class Searcher(Protocol):
    """What the service needs of an index. `foveal.search.Searcher` is one."""

    @property
    def count(self) -> int:
        """How many pictures it holds."""

    @property
    def model_name(self) -> str:
        """The model that it was made with."""

    def search_many(self, queries: "Sequence[Query]") -> "list[list[Hit]]":
        """Hits of each query, best first."""

    def similar(self, picture: Any, k: int) -> "list[Hit]":
        """Pictures like one of the index (by id) or like any other."""

    def picture(self, id_: str, /) -> Path | bytes:
        """The original of a picture."""

    def thumbnail(self, id_: str, /) -> bytes:
        """A small JPEG of a picture."""

    def explain(self, hit: Any, phrases: Sequence[str]) -> Sequence[Any]:
        """Where in a picture phrases are."""


@runtime_checkable
class TokenCounter(Protocol):
    """Counts tokens. `foveal`'s tokenizers do."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""


@runtime_checkable
class Encoder(Protocol):
    """What the service needs of a model. `foveal.Encoder` is one."""

    @property
    def tokenizer(self) -> TokenCounter:
        """Counts tokens for `usage`."""

    def encode_texts(self, texts: Sequence[str], kind: Any = "caption") -> Any:
        """One embedding per text."""

    def encode_images(self, pictures: Sequence[Any]) -> Any:
        """One embedding per picture."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """One input's embedding.

    Attributes:
        row: Of unit length, float32.
        tokens: Of a text; 0 for a picture.
    """

    row: np.ndarray
    tokens: int = 0


@dataclass(frozen=True)
class Search:
    """Queries of any sort, encoded together.

    Those of one filter share a batch, so that a filter that is no SQL fails no other's.
    """

    searcher: Searcher
    where: str

    def __call__(self, queries: "Sequence[Query]") -> "list[list[Hit]]":
        """Hits of each query."""
        return self.searcher.search_many(queries)


@dataclass(frozen=True)
class Similar:
    """Pictures like others."""

    searcher: Searcher
    k: int

    def __call__(self, given: Sequence[Any]) -> "list[list[Hit]]":
        """Hits of each picture, or id."""
        return [self.searcher.similar(picture, self.k) for picture in given]


@dataclass(frozen=True)
class Explain:
    """Boxes and heat maps."""

    searcher: Searcher

    def __call__(self, asked: Sequence[tuple[str, tuple[str, ...]]]) -> list[Sequence[Any]]:
        """Explanations of each pair of id and phrases."""
        return [self.searcher.explain(picture, phrases) for picture, phrases in asked]


@dataclass(frozen=True)
class EncodeTexts:
    """Embeddings of texts of one kind."""

    encoder: Encoder
    kind: str

    def __call__(self, texts: Sequence[str]) -> list[Embedded]:
        """One per text, with its number of tokens."""
        rows = np.asarray(self.encoder.encode_texts(texts, self.kind), dtype=np.float32)
        return [Embedded(row, tokens) for row, tokens in zip(rows, self.encoder.tokenizer.count(texts), strict=True)]


@dataclass(frozen=True)
class EncodeImages:
    """Embeddings of pictures."""

    encoder: Encoder

    def __call__(self, images: Sequence[Any]) -> list[Embedded]:
        """One per picture."""
        return [Embedded(row) for row in np.asarray(self.encoder.encode_images(images), dtype=np.float32)]


class Service:
    """One searcher and one encoder behind limits and a batcher. Endpoints read, call one of these, and answer."""

    def __init__(self, searcher: Searcher, encoder: Encoder, settings: Settings) -> None:
        """Start the batcher.

        Args:
            searcher: Finds.
            encoder: Embeds.
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
        """Pictures in the index; no number if it cannot be read."""
        try:
            return float(self.searcher.count)
        except (OSError, RuntimeError, ValueError):
            return math.nan

    @property
    def model_name(self) -> str:
        """The model's name; of a folder on this machine, its last step."""
        name = self.searcher.model_name
        return Path(name).name if Path(name).is_absolute() or Path(name).exists() else name

    async def compute(
        self, work: Work[Item, Result], items: Sequence[Item], refusal: RefusedError | None = None
    ) -> list[Result]:
        """The results of work on items, in company.

        Args:
            work: What to do.
            items: With what.
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
        """A small JPEG of a picture.

        Raises:
            RefusedError: 404 if there is none, 503 if the index was replaced.
        """
        return await _in_thread(self.searcher.thumbnail, picture_id, missing=unknown(picture_id), signs=(ValueError,))

    async def decode(self, content: Path | bytes, longest_side: int | None = None) -> Image.Image:
        """A picture, checked and decoded in a thread, a few at once."""
        return await anyio.to_thread.run_sync(
            pictures.decode, content, self.limits, self._room, longest_side, limiter=self._decoders
        )

    async def fetch(self, url: str) -> bytes:
        """A picture's bytes, from base64 text, a data URL or an allowed host."""
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
        """Embeddings of texts and pictures, in order."""
        groups: dict[Work[Any, Embedded], list[int]] = {}
        for at, given in enumerate(inputs):
            groups.setdefault(self._encoding(given, kind), []).append(at)
        rows: dict[int, Embedded] = {}
        for work, places in groups.items():
            rows.update(zip(places, await self.compute(work, [inputs[at] for at in places]), strict=True))
        return [rows[at] for at in range(len(inputs))]

    def _encoding(self, given: str | Image.Image, kind: str | None) -> Work[Any, Embedded]:
        if not isinstance(given, str):
            return EncodeImages(self.encoder)
        return EncodeTexts(self.encoder, kind or ("long_caption" if len(given.split()) > _LONG else "caption"))

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

    def check_count(self, count: int, what: str) -> None:
        """Refuse too many of something.

        Raises:
            RefusedError: 413.
        """
        if count > self.limits.inputs:
            raise RefusedError(413, f"{count} {what} are more than {self.limits.inputs}. Send several requests.")


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
    given: Any,
    missing: RefusedError,
    signs: tuple[type[Exception], ...] = (ValueError, OSError),
    limiter: CapacityLimiter | None = None,
) -> Answer:
    """Return what work gives in a thread. If these errors say that there is nothing, the client hears only that."""
    try:
        with _unless_replaced():
            return await anyio.to_thread.run_sync(work, given, limiter=limiter, abandon_on_cancel=True)
    except signs as error:
        logger.info("%s (%s)", missing.message, error)
        raise missing from error


def _media_type(original: Path | bytes) -> str | None:
    """What a browser shows it as. None if it would not."""
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
