"""WordNet as a second source of hard negatives and of synonyms, for nouns that our own lists do not know.

Read from its own files (the format of wndb(5WN)), of Princeton's WordNet 3.0 or 3.1 or any in that format: a folder
with `index.noun` and `data.noun`. Debian's package wordnet-base puts them into /usr/share/wordnet. Lines of synsets are
parsed when they are first asked for.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

_VISIBLE = frozenset({"05", "06", "13", "17", "20"})
"""Files of synsets that one can see apart: animals, artifacts, food, natural objects, plants. Not people, who are
more than one thing at once, nor body parts, which are parts of what is seen."""


class _Synset(NamedTuple):
    file: str
    words: tuple[str, ...]
    above: tuple[int, ...]
    below: tuple[int, ...]


class _Files(NamedTuple):
    senses: dict[
        str, tuple[tuple[int, ...], int]
    ]  # places of a noun's synsets, and how many of them texts were seen in
    data: bytes


@dataclass(frozen=True)
class WordNet:
    """WordNet's knowledge of nouns.

    Attributes:
        folder: Where its files are.
    """

    folder: Path

    def __post_init__(self) -> None:
        for name in ("index.noun", "data.noun"):
            if not (self.folder / name).is_file():
                raise ValueError(
                    f"There is no WordNet in '{self.folder}': {name} is missing. Name the folder of its files"
                    " (Debian's wordnet-base has them in /usr/share/wordnet), or leave WordNet out."
                )

    def may_name(self, left: str, right: str) -> bool:
        """True if two nouns may name the same thing: synonyms, or one a kind of the other, in any of their senses."""
        left_synsets, right_synsets = _with_above(self.folder, left), _with_above(self.folder, right)
        return (
            left == right
            or not right_synsets.isdisjoint(_senses(self.folder, left))
            or not left_synsets.isdisjoint(_senses(self.folder, right))
        )

    def rivals(self, noun: str) -> tuple[str, ...]:
        """Return nouns that name another kind of the same: "guitar" and "violin" of "banjo".

        The noun and each rival are taken in their first sense, the most frequent one. Rivals are single words that
        WordNet's counts found in texts, and never what may name the same.
        """
        places = _senses(self.folder, noun)
        if not places or _synset(self.folder, places[0]).file not in _VISIBLE:
            return ()
        candidates = []
        for above in _synset(self.folder, places[0]).above:
            for place in _synset(self.folder, above).below:
                candidates += [word for word in _synset(self.folder, place).words if self._means(word, place)]
        return tuple(word for word in dict.fromkeys(candidates) if not self.may_name(noun, word))

    def _means(self, word: str, place: int) -> bool:
        """True if a word is a common one, and means a synset first of all."""
        places, counted = _files(self.folder).senses.get(word, ((), 0))
        return counted > 0 and places[0] == place


@cache
def _files(folder: Path) -> _Files:
    """Read the index, once, and the synsets as they lie in their file."""
    senses = {}
    for line in (folder / "index.noun").read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):  # the licence
            lemma, _, synsets, pointers, *rest = line.split()
            _, counted, *places = rest[int(pointers) :]
            senses[lemma] = (tuple(map(int, places[: int(synsets)])), int(counted))
    return _Files(senses, (folder / "data.noun").read_bytes())


def _senses(folder: Path, noun: str) -> tuple[int, ...]:
    entry = _files(folder).senses.get(noun.lower().replace(" ", "_"))
    return entry[0] if entry else ()


@lru_cache(maxsize=1 << 16)
def _synset(folder: Path, place: int) -> _Synset:
    """Return the synset whose line begins at a place of the data file."""
    data = _files(folder).data
    fields = data[place : data.index(b"|", place)].decode().split()
    count = 4 + 2 * int(fields[3], 16)
    pointers = fields[count + 1 : count + 1 + 4 * int(fields[count])]
    links = [(symbol[0], int(to)) for symbol, to in zip(pointers[::4], pointers[1::4], strict=True)]
    return _Synset(
        fields[1],
        tuple(word for word in fields[4:count:2] if word.islower() and "_" not in word),
        tuple(to for symbol, to in links if symbol == "@"),
        tuple(to for symbol, to in links if symbol == "~"),
    )


@lru_cache(maxsize=1 << 14)
def _with_above(folder: Path, noun: str) -> frozenset[int]:
    """Return a noun's synsets and all that they are kinds of."""
    synsets: set[int] = set()
    open_ = list(_senses(folder, noun))
    while open_:
        place = open_.pop()
        if place not in synsets:
            synsets.add(place)
            open_ += _synset(folder, place).above
    return frozenset(synsets)
