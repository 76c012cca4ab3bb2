"""Hard negatives by rule: one term of a phrase gives way to another that excludes it, and the grammar is kept."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from ..types import Negative
from .chunker import is_noun
from .facts import Reading, Term
from .lexicon import KINDS, Sense, lexicon, plural, singular, word_classes, words
from .wordnet import WordNet

_ARTICLE = re.compile(r"\b(an?)(\s+)$", re.IGNORECASE)
_VOWEL = re.compile(r"(?:[aeiou]|hour|honest|heir)(?<!\bone)(?!ne\b|ni(?:c|f|v|t)|se|uro|ewe)", re.IGNORECASE)
_COUNTED = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SHADED = re.compile(r"\b(?:light|dark|pale|deep|bright)[ -]$", re.IGNORECASE)  # "light black" is no color
_NUMERALS = frozenset({*_COUNTED, *map(str, range(2, 11))})
_AS_NOUN = {"wooden": "wood"}  # after "of": "made of wood"


class Change(NamedTuple):
    """A term of a phrase and the name that may stand in its place.

    Attributes:
        term: The term.
        name: What takes its place, as the lexicon names it.
        words: The same as it is written.
        frame: What of the phrase stays as it is.
    """

    term: Term
    name: str
    words: str
    frame: "Frame"


Place = tuple[str, str]
"""The prepositions before and after a noun: ("", "on") for "a cup" in "a cup on a table", ("on", "") for "table"."""


@dataclass(frozen=True)
class Common:
    """Names that the texts of a source often say.

    Attributes:
        words: How each name is written there, of things and of what they are like: {"ball": "soccer ball"}.
        places: Things by where they stand in a phrase, see `place`: {("on", ""): {"table"}}.
    """

    words: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[Place, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def names(self) -> frozenset[str]:
        """All that are said."""
        return frozenset(self.words)


NO_COMMON = Common()


class Frame(NamedTuple):
    """Parts of a phrase that stay around a term.

    Attributes:
        before: The text up to the article, if one stands before the term, or up to the term.
        article: "a", "an", "A", "An" or nothing.
        space: What parts article and term.
        after: The text from the end of the term.
        is_capital: Whether the term begins with a capital.
        is_plural: Whether a noun in its place must be one.
        is_noun: Whether a material in its place must be one: "made of wood".
    """

    before: str
    article: str
    space: str
    after: str
    is_capital: bool
    is_plural: bool
    is_noun: bool


class Changes(NamedTuple):
    """Changes that make hard negatives of a phrase, by turns from each of its terms, in random order.

    Attributes:
        attributes: Changes of one attribute each, which keep the name of the thing.
        objects: Changes of the kind "object".
        strange: Rare or unseen substitutions, used last: implausible negatives teach only implausibility.
    """

    attributes: Iterator[Change]
    objects: Iterator[Change]
    strange: Iterator[Change]


_Option = tuple[Term, Sequence[list[str]]]
"""A term, and what may take its place: first names, second names, ..."""


def changes(
    reading: Reading,
    rng: Random,
    kinds: tuple[str, ...] = KINDS,
    nearby: Mapping[str, frozenset[str]] = MappingProxyType({}),
    common: Common = NO_COMMON,
    wordnet: WordNet | None = None,
) -> Changes:
    """Return the changes that make hard negatives of a phrase.

    Args:
        reading: The phrase.
        rng: Where chance comes from.
        kinds: What may be changed.
        nearby: Names that other texts of the picture say, by kind. They come first: what is seen misleads most.
        common: Names that come next; of things those that are often told of in such a place. They are written as the
            source has them, others as the lexicon has. Without any, no change is strange.
        wordnet: What may stand for nouns that the lexicon does not know.
    """
    attributes: list[_Option] = []
    objects: list[_Option] = []
    strange: list[_Option] = []
    for term in reading.terms:
        sense = term.sense
        if sense.kind not in kinds or not _is_exchangeable(reading, term):
            continue
        nearby_names = nearby.get(sense.kind, frozenset())
        named = reading.facts.nouns | reading.facts.slots.get((sense.kind, sense.block), frozenset())
        if sense.kind == "color" and _SHADED.search(reading.text[: term.start]):
            named |= {"black", "white"}
        ranks = [
            _mixed([name for name in rank if name not in named], rng)
            for rank in _names(sense, nearby_names, common.names)
        ]
        allowed = common.places.get(place(reading.text, term)) if sense.kind == "object" else None
        parted = _parted(ranks, allowed, is_known=bool(common.words))
        nearest, kin, common_rivals, rest = (fitting for fitting, _ in parted)
        strange.append((term, [odd for _, odd in parted]))
        if sense.kind == "object":
            objects.append(
                (term, (nearest[:1], kin[:1], common_rivals[:2], nearest[1:] + kin[1:] + common_rivals[2:], rest))
            )
        else:
            attributes.append((term, (nearest + kin + common_rivals + rest,)))
    if wordnet is not None and "object" in kinds:
        for term in _unknown(reading):
            names = [name for name in wordnet.rivals(term.noun) if name not in reading.facts.nouns]
            if names and _is_exchangeable(reading, term):
                objects.append((term, ([], [], [], [], _mixed(names, rng))))
    return Changes(*(_by_turns(reading.text, options, common.words) for options in (attributes, objects, strange)))


def _parted(
    ranks: Sequence[list[str]], allowed: frozenset[str] | None, *, is_known: bool
) -> list[tuple[list[str], list[str]]]:
    """Part each rank of `_names` into what may stand in a place, and what would be strange there.

    Args:
        ranks: The last is what the source never says.
        allowed: What the source says there. None: what it says anywhere.
        is_known: Whether it is known what the source says.
    """
    *common_ranks, never = ranks
    if allowed is None:
        parted: list[tuple[list[str], list[str]]] = [(rank, []) for rank in common_ranks]
    else:
        parted = [([n for n in rank if n in allowed], [n for n in rank if n not in allowed]) for rank in common_ranks]
    return [*parted, ([], never) if is_known else (never, [])]


def _unknown(reading: Reading) -> Iterator[Term]:
    """Yield the nouns of a phrase that the lexicon says nothing of."""
    for phrase in reading.chunks:
        word = phrase.head.lower()
        noun = singular(word)
        if not any(lexicon().senses.get(form) for form in (word, noun)):
            sense = Sense("object", -1, noun, frozenset(), is_plural=noun != word)
            yield Term(phrase.head_start, phrase.head_start + len(word), sense, noun)


def _by_turns(text: str, options: Sequence[_Option], written: Mapping[str, str]) -> Iterator[Change]:
    """Yield changes by turns: one first name of each term, then another of each; then second names, ..."""
    framed = [(term, _frame(text, term), ranks) for term, ranks in options]
    for rank in range(max((len(ranks) for _, ranks in options), default=0)):
        for turn in range(max(len(ranks[rank]) for _, ranks in options)):
            for term, frame, ranks in framed:
                if turn < len(ranks[rank]):
                    name = ranks[rank][turn]
                    yield Change(term, name, written.get(name, name), frame)


@lru_cache(maxsize=1 << 12)
def _names(sense: Sense, nearby: frozenset[str], common: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    """Return what excludes a sense: what is nearby, of its family what is common, what else is common, the rest."""
    vocabulary = lexicon()
    family = vocabulary.exclusive(sense)
    more = sorted((nearby | common).difference(family)) if sense.kind == "object" else ()
    senses = ((name, vocabulary.sense(name, "object")) for name in more)
    apart = {
        name for name, rival in senses if rival and rival.block != sense.block and vocabulary.is_apart(sense, rival)
    }
    ranks: tuple[list[str], ...] = ([], [], [], [])
    for name in (*family, *sorted(apart)):
        rank = 0 if name in nearby else 3 if name not in common else 2 if name in apart else 1
        ranks[rank].append(name)
    return tuple(map(tuple, ranks))


def _mixed(names: list[str], rng: Random) -> list[str]:
    """Return the names from a random one on, in strides: one draw, as shuffling was a third of the time."""
    count = len(names)
    stride = next((stride for stride in (7, 5, 3, 11) if count % stride), 1)
    first = rng.randrange(count) if count else 0
    return [names[(first + stride * index) % count] for index in range(count)]


def _is_exchangeable(reading: Reading, term: Term) -> bool:
    """True if the term stands for itself, and the rest of the phrase allows another."""
    text = reading.text.lower()
    word = text[term.start : term.end]
    before = text[: term.start].split()
    after = text[term.end :].split()
    if (after and f"{word}+{after[0]}" in words("fixed")) or (before and f"{before[-1]}+{word}" in words("fixed")):
        return False
    if term.sense.kind == "number":
        return word in _NUMERALS and after[:1] != ["of"]
    if term.sense.kind == "object":
        is_person = term.sense.name in ("man", "woman", "boy", "girl")
        return not (is_person and re.search(r"\b(?:his|her|him)\b", text))
    return True


def _frame(text: str, term: Term) -> Frame:
    start = _with_compound(text, term.start) if term.sense.kind == "object" else term.start
    article = _ARTICLE.search(text[:start])
    before = text[: article.start()] if article else text[:start]
    return Frame(
        before,
        article.group(1) if article else "",
        article.group(2) if article else "",
        text[term.end :],
        is_capital=text[start].isupper(),
        is_plural=term.sense.kind == "object" and _is_plural(text, term),
        is_noun=term.sense.kind == "material" and before.rstrip().endswith((" of", " from")),
    )


def rewrite(change: Change) -> Negative:
    """Return the hard negative that a change makes, with the right article and number.

    Returns:
        For example "an orange dog" of "a red dog".
    """
    frame, kind, word = change.frame, change.term.sense.kind, change.words
    if frame.is_plural:
        word = lexicon().plurals.get(word) or plural(word)
    elif frame.is_noun:
        word = _AS_NOUN.get(word, word)
    if frame.is_capital:
        word = word[0].upper() + word[1:]
    article = _article(frame.article, word) if frame.article else ""
    return Negative(f"{frame.before}{article}{frame.space}{word}{frame.after}", kind)


def common_of(readings: Iterable[Iterable[Reading]], often: int) -> Common:
    """Return the names that texts say often.

    Args:
        readings: Of each text its phrases. What a text says twice counts once.
        often: Texts that say a thing before it counts.
    """
    words: dict[str, Counter[str]] = {}
    places: Counter[tuple[Place, str]] = Counter()
    for phrases in readings:
        named = set().union(*map(_names_in, phrases))
        for name, written in {(name, written) for name, written, _ in named}:
            words.setdefault(name, Counter())[written] += 1
        places.update({(where, name) for name, _, where in named if where is not None})
    names_by_place: dict[Place, set[str]] = {}
    for (where, name), count in places.items():
        if count >= often:
            names_by_place.setdefault(where, set()).add(name)
    # of words that are as frequent the first by alphabet: a set has another order in each process
    frequent = sorted(name for name, spellings in words.items() if spellings.total() >= often)
    return Common(
        {name: min(spellings := words[name], key=lambda word: (-spellings[word], word)) for name in frequent},
        {where: frozenset(names) for where, names in names_by_place.items()},
    )


def _names_in(reading: Reading) -> set[tuple[str, str, Place | None]]:
    """Return the names in a phrase, their words ("ball", "soccer ball"), and where things stand. No plurals."""
    names: set[tuple[str, str, Place | None]] = set()
    for term in reading.terms:
        if not term.sense.is_plural:
            is_thing = term.sense.kind == "object"
            start = _with_compound(reading.text, term.start) if is_thing else term.start
            words = reading.text[start : term.end].lower()
            names.add((term.sense.name, words, place(reading.text, term) if is_thing else None))
    return names


def place(text: str, term: Term) -> Place:
    """Return where a noun stands in a phrase: which prepositions come before and after it, the nearest each."""
    prepositions = word_classes()["PREP"]
    before = [word for word in text[: term.start].lower().split() if word in prepositions]
    after = text[term.end :].lower().split()[:1]
    return (before[-1] if before else ""), (after[0] if after and after[0] in prepositions else "")


def _with_compound(text: str, start: int) -> int:
    """Return where the noun begins with the nouns before it: "cell phone" becomes "camera", not "cell camera"."""
    while True:
        before = re.search(r"([^\W_]+(?:-[^\W_]+)*) $", text[:start])
        if before is None or not is_noun(before.group(1).lower()) or _describes(before.group(1).lower()):
            return start
        start = before.start()


def _describes(word: str) -> bool:
    """True if a noun before a noun says what that is like: "metal" in "a metal chair"."""
    return any(sense.kind != "object" for sense in lexicon().senses.get(word, ()))


def _is_plural(text: str, term: Term) -> bool:
    """True if more than one is meant; a bare noun counts as such, as in "broccoli in a bowl"."""
    if term.sense.is_plural:
        return True
    before = text[: term.start].lower().split()
    if any(word in _NUMERALS or word in ("several", "many", "few", "these", "those") for word in before[-3:]):
        return True
    start = next(
        (index for index, word in enumerate(reversed(before)) if word in word_classes()["DET"] or "'" in word), None
    )
    return start is None and not any(word in ("of", "with", "in", "on") for word in before)


def _article(article: str, word: str) -> str:
    """Return the right one of "a" and "an", with a capital where there was one."""
    right = "an" if _VOWEL.match(word) else "a"
    return right.capitalize() if article[0].isupper() else right
