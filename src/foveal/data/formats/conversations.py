"""LLaVA's JSON: a picture, or none, and a conversation of any length about it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ...types import Sample
from ...writing import replacing
from .json_list import parsed_object, read_item, scan_items, write_items

Speaker = Literal["human", "gpt"]
IMAGE = "<image>"
"""Stands in a turn for the picture."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one of two says.

    Attributes:
        speaker: "human" asks, "gpt" answers.
        text: With "<image>" where the picture belongs.
    """

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Chat(Sample):
    """A sample that is a conversation. Its long caption is all that is said, so that sources are told apart by it.

    Attributes:
        turns: In order; the first is a human's. Without a picture, `image` is empty.
    """

    turns: tuple[Turn, ...] = ()

    @classmethod
    def of(cls, name: str, image: Path | bytes, turns: tuple[Turn, ...]) -> "Chat":
        """Return a conversation about an image, or about none (b"")."""
        return cls(name, image, long_caption="\n".join(turn.text for turn in turns), turns=turns)


@dataclass(frozen=True)
class Conversations:
    """Conversations of a file, a list of {"id", "image", "conversations": [{"from": "human", "value"}, ...]}.

    Attributes:
        path: The file. Items without "image" are conversations about no picture; with one, "<image>" stands once.
        images: The folder that image paths start from. None: the file's own.
    """

    path: Path
    images: Path | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Chat]:
        """Yield the conversations in file order."""
        return map(self.sample, range(len(self)))

    def sample(self, index: int) -> Chat:
        """Return a conversation by its number.

        Raises:
            ValueError: If it is none. The message names file and item.
        """
        try:
            return self._chat(parsed_object(read_item(self.path, *self._places[index])), index)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path}: item {index}: not a conversation: {error}") from error

    def write(self, chats: Iterable[Chat]) -> int:
        """Write conversations whose pictures are files below the folder of images. Returns their number."""
        with replacing(self.path) as partial:
            return write_items(partial, map(self._item, chats))

    @property
    def root(self) -> Path:
        """The folder that image paths start from."""
        return self.images or self.path.parent

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        return [(start, start + len(item)) for start, item in scan_items(self.path)]

    def _chat(self, item: Any, index: int) -> Chat:
        turns = tuple(Turn(turn["from"], str(turn["value"])) for turn in item["conversations"])
        expected = ["human", "gpt"] * (len(turns) // 2)
        if not turns or [turn.speaker for turn in turns] != expected:
            raise ValueError("'conversations' must be turns of 'human' and 'gpt' by turns, an answer last")
        marks = sum(turn.text.count(IMAGE) for turn in turns)
        if marks != (1 if item.get("image") else 0):
            raise ValueError(f"it has {marks} marks {IMAGE} and {'one' if item.get('image') else 'no'} picture")
        image = self.root / item["image"] if item.get("image") else b""
        return Chat.of(str(item.get("id", index)), image, turns)

    def _item(self, chat: Chat) -> dict[str, Any]:
        if isinstance(chat.image, bytes) and chat.image:
            raise ValueError(f"The picture of '{chat.id}' is no file. Write it to one first.")
        turns = [{"from": turn.speaker, "value": turn.text} for turn in chat.turns]
        image = {"image": str(chat.image.relative_to(self.root))} if isinstance(chat.image, Path) else {}
        return {"id": chat.id, **image, "conversations": turns}
