"""A reader of scene texts that shares no code with their writer: it knows English, the tiles and their boxes."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from foveal.data.scenes import NOUNS, Scenes
from foveal.data.scenes.artwork import plural
from foveal.types import Sample

NOUN = "|".join(sorted(NOUNS, key=len, reverse=True))
MENTION = re.compile(
    rf"\b(?:a|the) (?P<size>large|small) (?P<noun>{NOUN}) on (?:a|an|the) (?P<color>\w+) (?:tile|square)\b"
    rf"|\b(?:a|an|the) (?P<color2>\w+) tile with (?:a|the) (?P<size2>large|small) (?P<noun2>{NOUN})\b"
    rf"|\bthe (?P<noun3>{NOUN})\b"
)
PLACE = re.compile(r"\b(?P<row>top|middle|bottom) (?P<column>left|middle|right)\b|\bcenter\b")
RELATION = re.compile(r"\b(left of|right of|above|below)\b")
COUNT = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
THIRDS = {"left": 0, "top": 0, "middle": 1, "right": 2, "bottom": 2}


class Reader:
    """Judges sentences against the tiles of one scene and the boxes they were drawn in."""

    def __init__(self, source: Scenes, index: int, *, strict: bool) -> None:
        self.strict = strict
        self.size = source.size
        self.scene = source.truth(index)
        self.tiles = list(zip(self.scene.tiles, source.boxes(index), strict=True))

    def is_true(self, text: str) -> bool:
        return all(self._sentence(sentence) for sentence in text.lower().rstrip(".").split(". "))

    def _sentence(self, sentence: str) -> bool:
        counted = re.search(r"\b(?!the)(\w+) tiles\b", sentence)
        is_right = True
        if counted:
            is_right = COUNT[counted[1]] == len(self.tiles)
        if "background" in sentence:
            return is_right and f"{self.scene.background} background" in sentence
        twice = re.fullmatch(r"(?:there are|the picture has) (\w+) (.+)|(\w+) of the tiles show (.+)", sentence)
        mentions = list(MENTION.finditer(sentence))
        if twice and not mentions:
            number, plurals = twice[1] or twice[3], twice[2] or twice[4]
            return sum(plural(tile.noun) == plurals for tile, _ in self.tiles) == COUNT[number]
        referents = [self._referents(mention) for mention in mentions]
        if len(referents) == 1:
            place = PLACE.search(sentence)
            assert place, sentence
            return any(self._lies(box, place) for box in referents[0])
        assert len(referents) == 2, sentence
        return is_right and self._relation(sentence, mentions, referents)

    def _referents(self, mention: re.Match[str]) -> list[Any]:
        found = mention.groupdict()
        wanted = {key: found[key] or found[f"{key}2"] for key in ("size", "color")}
        wanted["noun"] = found["noun"] or found["noun2"] or found["noun3"]
        boxes = [
            box
            for tile, box in self.tiles
            if all(value is None or getattr(tile, key) == value for key, value in wanted.items())
        ]
        assert not (self.strict and "the " in mention[0] and len(boxes) != 1), f"{mention[0]} is no one tile"
        return boxes

    def _lies(self, box: Any, place: re.Match[str]) -> bool:
        centers = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        thirds = tuple(int(3 * center / self.size) for center in centers)
        if place[0] == "center":
            return thirds == (1, 1)
        return thirds == (THIRDS[place["column"]], THIRDS[place["row"]])

    def _relation(self, sentence: str, mentions: list[re.Match[str]], referents: list[list[Any]]) -> bool:
        word = RELATION.search(sentence)
        assert word, sentence
        first, second = referents if word.start() > mentions[0].start() else referents[::-1]
        return any(self._stands(one, word[0], two) for one in first for two in second if one != two)

    def _stands(self, one: Any, word: str, two: Any) -> bool:
        axis = 0 if word in ("left of", "right of") else 1
        low, high = (one, two) if word in ("left of", "above") else (two, one)
        if self.strict:  # nothing of the one lies beyond the other
            return low[axis + 2] <= high[axis]
        return low[axis] + low[axis + 2] < high[axis] + high[axis + 2]


@pytest.fixture
def read() -> Callable[..., Reader]:
    """Makes a reader of one scene; a strict one doubts, so that what it calls true is plainly so."""
    return Reader


@pytest.fixture(scope="session")
def source() -> Scenes:
    """Scenes that the tests of texts and pictures share, as types are checked on every call and that is slow."""
    return Scenes(5, count=80, nouns=100)


@pytest.fixture(scope="session")
def samples(source: Scenes) -> list[Sample]:
    """What `source` gives."""
    return list(source)
