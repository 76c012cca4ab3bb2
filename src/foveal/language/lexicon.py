"""Words of one kind and what excludes what: all that the rules for phrases and for hard negatives know.

The lists are our own, in `lexicons/<kind>.txt`. A line is a group: a name, then other words for it or for a kind of
it, and after a bar what may be true of the same thing. A blank line parts blocks; words of one block are about one
dimension, so that at most one group of it is true of a thing. "!" before a group: it is recognized, but never put
in place of another. An irregular plural stands behind a colon.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

KINDS = ("color", "material", "pattern", "size", "number", "position", "action", "object")
_FOLDER = Path(__file__).parent / "lexicons"
_VOWELS = "aeiou"
_UNCOUNTED = {"people", "police", "broccoli"}  # plural or neither, whatever they end in


@dataclass(frozen=True, slots=True)
class Sense:
    """Meaning of a word.

    Attributes:
        kind: One of `KINDS`.
        block: Which dimension, a number within the kind.
        name: The first word of its group, the same for all of them.
        compatible: Names and words that may be true of what this is true of.
        is_plural: Whether the word itself is a plural. Objects only.
    """

    kind: str
    block: int
    name: str
    compatible: frozenset[str]
    is_plural: bool = False


@dataclass(frozen=True)
class Lexicon:
    """Word lists of all kinds.

    Attributes:
        senses: What each term says, by its words in lower case. "orange" is a color and a fruit.
        rivals: Of each kind and block, the names that may be put in place of one another.
        plurals: Of each name of an object.
    """

    senses: dict[str, tuple[Sense, ...]]
    rivals: dict[tuple[str, int], tuple[str, ...]]
    plurals: dict[str, str]
    _exclusive: dict[tuple[str, int, str], tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    def sense(self, term: str, kind: str, block: int | None = None) -> Sense | None:
        """Return what a term says of a kind, and of one dimension of it. None if it says nothing."""
        for sense in self.senses.get(term, ()):
            if sense.kind == kind and block in (None, sense.block):
                return sense
        return None

    def exclusive(self, sense: Sense) -> tuple[str, ...]:
        """Return names that exclude a sense: of the same block, and neither it nor near it, seen from either side."""
        key = (sense.kind, sense.block, sense.name)
        if key not in self._exclusive:
            self._exclusive[key] = tuple(
                name
                for name in self.rivals[sense.kind, sense.block]
                if name != sense.name and name not in sense.compatible and not self._is_compatible(name, sense)
            )
        return self._exclusive[key]

    def excludes(self, left: Sense, right: Sense) -> bool:
        """True if no thing can be both: of one block, and neither is near the other."""
        return (left.kind, left.block) == (right.kind, right.block) and self.is_apart(left, right)

    def is_apart(self, left: Sense, right: Sense) -> bool:
        """True if neither is near the other, whatever their blocks."""
        return left.name != right.name and left.name not in right.compatible and right.name not in left.compatible

    def _is_compatible(self, name: str, sense: Sense) -> bool:
        rival = self.sense(name, sense.kind, sense.block)
        return rival is not None and sense.name in rival.compatible


def plural(noun: str) -> str:
    """Return the regular plural: "boxes" of "box", "ponies" of "pony"."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in _VOWELS:
        return noun[:-1] + "ies"
    return noun + "s"


def singular(noun: str) -> str:
    """Return the singular of a regular plural, anything else as it is: "box" of "boxes", "glass" of "glass"."""
    if noun in _UNCOUNTED or len(noun) < 4 or not noun.endswith("s") or noun.endswith(("ss", "us", "is")):
        return noun
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("sses", "xes", "ches", "shes")) or noun in ("buses", "gases"):
        return noun[:-2]
    return noun[:-1]


@cache
def lexicon() -> Lexicon:
    """Return the shipped lists, read once."""
    senses: dict[str, list[Sense]] = {}
    rivals: dict[tuple[str, int], list[str]] = {}
    plurals: dict[str, str] = {}
    for kind in KINDS:
        for block, line in _lines(_FOLDER / f"{kind}.txt"):
            group, _, compatible = line.lstrip("!").partition("|")
            terms = [term.strip().partition(":") for term in group.split(",")]
            name = terms[0][0]
            near_names = frozenset(word.strip() for word in compatible.split(",") if word.strip())
            # What may be called by a word of another group is named by that word; the group's own need no entry.
            if not line.startswith("!"):
                rivals.setdefault((kind, block), []).append(name)
            for word, _, irregular in terms:
                senses.setdefault(word, []).append(Sense(kind, block, name, near_names))
                if kind == "object":
                    plural_form = irregular or plural(word)
                    plurals.setdefault(word, plural_form)
                    if plural_form != word:
                        senses.setdefault(plural_form, []).append(Sense(kind, block, name, near_names, is_plural=True))
    for names in rivals.values():  # a dimension of one name has nothing to exchange
        names.sort()
    return Lexicon(
        {word: tuple(meanings) for word, meanings in senses.items()},
        {block: tuple(names) for block, names in rivals.items()} | _without_rivals(senses, rivals),
        plurals,
    )


def _without_rivals(
    senses: dict[str, list[Sense]], rivals: dict[tuple[str, int], list[str]]
) -> dict[tuple[str, int], tuple[str, ...]]:
    blocks = {(sense.kind, sense.block) for meanings in senses.values() for sense in meanings}
    return {block: () for block in blocks if block not in rivals}


@cache
def words(name: str) -> frozenset[str]:
    """Return the words of a shipped list that is no lexicon: any number a line, "#" before remarks.

    Args:
        name: Of the file, without ".txt".
    """
    return frozenset(word for _, line in _lines(_FOLDER / f"{name}.txt") for word in line.split())


@cache
def word_classes() -> dict[str, frozenset[str]]:
    """Return the small words of `lexicons/classes.txt` by their class."""
    classes: dict[str, set[str]] = {}
    for _, line in _lines(_FOLDER / "classes.txt"):
        name, _, members = line.partition(": ")
        classes.setdefault(name, set()).update(members.split())
    return {name: frozenset(members) for name, members in classes.items()}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield lines that hold something, with the number of the block they stand in."""
    block, is_open = 0, False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        if line.strip():
            is_open = True
            yield block, line.strip()
        elif is_open:
            block, is_open = block + 1, False
