"""Prompts: how long they are in tokens, what a pipeline cuts off, and where they come from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ..data.formats.pictures import drawn_name
from ..data.formats.source import open_source


@dataclass(frozen=True)
class Prompt:
    """What a picture shall show.

    Attributes:
        name: Of the picture's file, without ending.
        text: What it shall show.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Length:
    """How much of a text is read.

    Attributes:
        tokens: Of the whole text, with both marks.
        limit: Most that are read.
        cut: The words behind it, which nobody reads. Empty if all are read.
    """

    tokens: int
    limit: int
    cut: str

    def __str__(self) -> str:
        """Return it as a line for people."""
        words = len(self.cut.split())
        return f"{self.tokens} tokens of at most {self.limit}" + (
            f"; {words} word{'s' * (words > 1)} cut off: '{shortened(self.cut)}'" if words else ""
        )


def length_of(tokenizer: Any, text: str) -> Length:
    """Return how much of a text a tokenizer of `transformers` lets through."""
    limit = tokenizer.model_max_length
    ends = word_ends(tokenizer, text)
    return Length(len(ends) + 2, limit, text[ends[limit - 3] :].strip() if len(ends) + 2 > limit else "")


def word_ends(tokenizer: Any, text: str) -> list[int]:
    """Return the place in a text where each of its tokens ends, marks left out."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [end for _, end in encoded.offset_mapping]


def cut_to(tokenizer: Any, text: str, limit: int) -> str:
    """Return the start of a text that a reader of `limit` tokens, both marks among them, would read."""
    ends = word_ends(tokenizer, text)
    return text[: ends[limit - 3]] if len(ends) + 2 > limit else text


def summary(lengths: Sequence[Length]) -> str:
    """Return a line on many prompts: how long they are, and how many are cut."""
    tokens = sorted(length.tokens for length in lengths)
    cut = sum(bool(length.cut) for length in lengths)
    return (
        f"{len(tokens):,} prompts of {tokens[0]} to {tokens[-1]} tokens, {median(tokens):.0f} in the middle;"
        f" {cut:,} are longer than {lengths[0].limit} and cut."
    )


def read_prompts(file: Path) -> list[Prompt]:
    """Return the prompts of a file, one a picture.

    Args:
        file: Text (*.txt), one prompt a line, named by its number; or any source of samples, whose long captions are
            taken, or first captions, named as their picture's file, else by id.

    Raises:
        ValueError: If there is none, one has no text, or two have the same name.
    """
    if file.suffix == ".txt":
        lines = file.read_text(encoding="utf-8").splitlines()
        prompts = [Prompt(f"{number:05d}", line.strip()) for number, line in enumerate(lines) if line.strip()]
    else:
        prompts = list(_of_samples(file))
    if not prompts:
        raise ValueError(f"{file} holds no prompts.")
    names: set[str] = set()
    for prompt in prompts:
        if prompt.name in names:
            raise ValueError(f"{file}: two prompts are named '{prompt.name}'. Their pictures would be one file.")
        names.add(prompt.name)
    return prompts


def _of_samples(file: Path) -> Iterator[Prompt]:
    for sample in open_source(file):
        text = sample.long_caption or next(iter(sample.captions), "")
        if not text:
            raise ValueError(f"{file}: sample '{sample.id}' has no caption to draw.")
        yield Prompt(drawn_name(sample), text)


def shortened(text: str, most: int = 60) -> str:
    """Return a text, or its start with dots."""
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."
