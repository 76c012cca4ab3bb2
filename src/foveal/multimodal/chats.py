"""Conversations as a run's data: pictures as pixels, turns as token ids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from ..data.formats.conversations import Chat, Conversations
from ..data.images import open_upright
from ..data.stream import Source, Stream
from ..distributed import World
from ..types import Sample
from .chat import IGNORED, Style, Tokens, encode_chat
from .small import SceneChats

_LARGEST = 1 << 14


@runtime_checkable
class Reader(Protocol):
    """What is asked of a model whose conversations are prepared; `llava.Llava` is one."""

    @property
    def style(self) -> Style:
        """How conversations are written."""

    @property
    def most_tokens(self) -> int:
        """Longest conversation."""

    def assembled(self) -> Any:
        """Return tokenizer, settings of pictures, and the model before any step."""


@dataclass(frozen=True)
class ChatBatch:
    """Conversations of a step.

    Attributes:
        ids: Of the conversations.
        pixels: Of those that have a picture, in order.
        pictured: Which do.
        token_ids: Padded on the right.
        mask: True where a token is real.
        targets: The token ids of the answers, `IGNORED` elsewhere.
    """

    ids: tuple[str, ...]
    pixels: Float[Tensor, "N 3 Y X"]
    pictured: Bool[Tensor, " B"]
    token_ids: Int[Tensor, "B L"]
    mask: Bool[Tensor, "B L"]
    targets: Int[Tensor, "B L"]

    def split(self, parts: int) -> list["ChatBatch"]:
        """Return as many batches of neighbors."""
        bounds = [len(self.ids) * part // parts for part in range(parts + 1)]
        before = [0, *self.pictured.cumsum(0).tolist()]
        return [
            ChatBatch(
                self.ids[low:high],
                self.pixels[before[low] : before[high]],
                self.pictured[low:high],
                self.token_ids[low:high],
                self.mask[low:high],
                self.targets[low:high],
            )
            for low, high in pairwise(bounds)
        ]


@dataclass(frozen=True, kw_only=True)
class Chats:
    """The data of a run: conversations of LLaVA's JSON, or about made-up scenes.

    Attributes:
        sources: Files; behind "::" may stand the folder of their pictures. "scenes": made-up ones.
        weights: Of each source in the mixture. Empty: all alike.
        broken_budget: Share of broken conversations past which the run stops.
        allow_change: Resume though a source holds something else than when the run began.
    """

    sources: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    broken_budget: float = 0.001
    allow_change: bool = False

    def open(
        self, model: Reader, *, batch_size: int, seed: int, world: World, workers: int
    ) -> Stream[tuple[Chat, Tensor | None, Tokens], ChatBatch]:
        """Open this rank's stream.

        Raises:
            ValueError: If there is no source.
        """
        if not self.sources:
            raise ValueError("There are no conversations to train on. Give --data file.json, in LLaVA's format.")
        weights = self.weights or (1.0,) * len(self.sources)
        sources: list[tuple[Source, float]] = [
            (open_chats(spec), weight) for spec, weight in zip(self.sources, weights, strict=True)
        ]
        preparing = Preparing.of(model)
        return Stream(
            sources,
            batch_size=batch_size,
            prepare=preparing.prepare,
            collate=preparing.collate,
            seed=seed,
            world=world,
            workers=workers,
            broken_budget=self.broken_budget,
        )


@dataclass(frozen=True)
class Preparing:
    """From conversations to batches.

    Attributes:
        tokenizer: Of the language model.
        processor: Of pictures.
        image_id: Token of a part of a picture.
        image_tokens: How many a picture has.
        model: How conversations are written, and how long they may be.
    """

    tokenizer: Any
    processor: Any
    image_id: int
    image_tokens: int
    model: Reader

    @classmethod
    def of(cls, model: Reader) -> "Preparing":
        """Return what a model needs."""
        parts = model.assembled()
        processor, image_id = picture_processor(parts.pictures), parts.model.config.image_token_index
        return cls(parts.tokenizer, processor, image_id, parts.reading.tokens, model)

    def prepare(self, chat: Sample, rng: np.random.Generator) -> tuple[Chat, Tensor | None, Tokens]:  # noqa: ARG002
        """Return a conversation with its pixels and tokens. Nothing of it is drawn by chance."""
        assert isinstance(chat, Chat)
        pixels = None if chat.image == b"" else self.processor(open_picture(chat.image), return_tensors="pt")
        tokens = encode_chat(
            self.tokenizer, chat.turns, self.model.style, self.image_id, self.image_tokens, self.model.most_tokens
        )
        return chat, None if pixels is None else pixels.pixel_values[0], tokens

    def collate(self, rows: Sequence[tuple[Chat, Tensor | None, Tokens]]) -> ChatBatch:
        """Return conversations as a batch."""
        longest = max(len(tokens.ids) for _, _, tokens in rows)
        pictures = [pixels for _, pixels, _ in rows if pixels is not None]
        side = self.processor.crop_size["height"]
        pad = self.tokenizer.pad_token_id
        return ChatBatch(
            ids=tuple(chat.id for chat, _, _ in rows),
            pixels=torch.stack(pictures) if pictures else torch.zeros(0, 3, side, side),
            pictured=torch.tensor([pixels is not None for _, pixels, _ in rows]),
            token_ids=torch.tensor([[*row.ids, *[pad] * (longest - len(row.ids))] for _, _, row in rows]),
            mask=torch.tensor([[place < len(row.ids) for place in range(longest)] for _, _, row in rows]),
            targets=torch.tensor([[*row.targets, *[IGNORED] * (longest - len(row.ids))] for _, _, row in rows]),
        )


def open_chats(spec: str) -> Conversations | SceneChats:
    """Return the conversations of a name: a file, with the folder of its pictures behind "::", or "scenes"."""
    if spec.partition(":")[0] == "scenes":
        return SceneChats.of(spec)
    name, _, folder = spec.partition("::")
    return Conversations(Path(name), Path(folder) if folder else None)


def picture_processor(settings: dict[str, Any]) -> Any:
    """Return the processor of pictures of `transformers` that needs Pillow alone, so that numbers do not move."""
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    apart = ("image_processor_type", "processor_class")
    return LlavaImageProcessorPil(**{name: value for name, value in settings.items() if name not in apart})


def open_picture(image: Path | bytes | Image.Image) -> Image.Image:
    """Return a picture, upright, in three colors."""
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    return open_upright(image, _LARGEST)[0].convert("RGB")


def encoded_png(picture: Image.Image) -> bytes:
    """Return a picture as a PNG."""
    content = BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def in_batches(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield neighbors, `size` at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
