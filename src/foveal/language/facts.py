"""Meaning of phrases in the lexicon's terms, and whether it may be true of another thing in a caption."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from .chunker import Phrase, chunk
from .lexicon import Sense, lexicon, singular

Slot = tuple[str, int]

_WORD = re.compile(r"[^\W_]+(?:[-’'][^\W_]+)*")
_ARTICLES = frozenset({"a", "an", "the"})
_DEFINITE = frozenset({"the", "its", "his", "her", "their", "this", "that", "these", "those"})
_SHADES = ("light", "dark")
_COMPARED = ("color", "material", "pattern", "size", "number", "action")  # a position is one to something else
_COUNTS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PLURAL_DETERMINERS = frozenset(
    {
        "several",
        "many",
        "some",
        "few",
        "various",
        "numerous",
        "multiple",
        "these",
        "those",
        "two",
        "three",
        "four",
        "five",
    }
)


class Term(NamedTuple):
    """Words of a phrase that the lexicon knows, in one of their senses.

    Attributes:
        start: Where they begin, in characters.
        end: Where they end.
        sense: What they say.
        noun: The noun that they describe, or that they are, in the lexicon's name.
    """

    start: int
    end: int
    sense: Sense
    noun: str


@dataclass(frozen=True)
class Facts:
    """Nouns and attributes that a phrase states.

    Attributes:
        main: Its head noun, as `name_of` has it.
        nouns: All its nouns.
        slots: Of each dimension that it speaks of, the names said.
        is_definite: Whether it begins with "the" or the like, and so may name something named before.
        is_plural: Whether its head is more than one.
    """

    main: str
    nouns: frozenset[str]
    slots: dict[Slot, frozenset[str]]
    is_definite: bool = False
    is_plural: bool = False

    def contradicts(self, facts: "Facts") -> bool:
        """True if no thing can be both, as far as the lexicon knows.

        Either some dimension is given exclusive names, or neither names the other's main noun.
        """
        return not self.may_name(facts) or self.differs(facts)

    def differs(self, facts: "Facts", aside: Slot | None = None) -> bool:
        """True if a dimension is given exclusive names, one left aside."""
        for slot, names in self.slots.items():
            other_names = facts.slots.get(slot)
            if other_names is not None and slot != aside and exclude(slot, names, other_names):
                return True
        return False

    def may_name(self, facts: "Facts") -> bool:
        """True if one of the two names the other's main noun."""
        return facts.mentions(self.main) or self.mentions(facts.main)

    def mentions(self, noun: str) -> bool:
        """True if a noun is among these, or one that may name the same."""
        return not self.nouns.isdisjoint(namesakes(noun))

    def says_no_more_than(self, facts: "Facts") -> bool:
        """True if all that is said here is said there."""
        for slot, names in self.slots.items():
            if not names <= facts.slots.get(slot, frozenset()):
                return False
        return all(map(facts.mentions, self.nouns))


@lru_cache(maxsize=1 << 16)
def exclude(slot: Slot, left: frozenset[str], right: frozenset[str]) -> bool:
    """True if what two phrases say of a dimension cannot both be true of a thing."""
    if slot[0] not in _COMPARED or not left.isdisjoint(right):
        return False
    words = lexicon()
    senses = [(words.sense(a, *slot), words.sense(b, *slot)) for a in left for b in right]
    return all(a is not None and b is not None and words.excludes(a, b) for a, b in senses)


@lru_cache(maxsize=1 << 16)
def namesakes(noun: str) -> frozenset[str]:
    """Return the nouns that may name what this one names, itself among them, each as `name_of` has it."""
    sense = lexicon().sense(noun, "object")
    return frozenset((noun, *map(name_of, sense.compatible if sense else ())))


@lru_cache(maxsize=1 << 16)
def name_of(noun: str) -> str:
    """Return one name for a noun, its plural and the other words of its group: "couch" for "sofas"."""
    noun = noun.lower()
    sense = lexicon().sense(noun, "object") or lexicon().sense(singular(noun), "object")
    return sense.name if sense else singular(noun)


@dataclass(frozen=True)
class Reading:
    """A phrase with its terms.

    Attributes:
        text: The phrase.
        terms: What the lexicon knows of it, in order; words that mean two things stand in the sense of their place.
        facts: What it says.
        chunks: It and the phrases in it, from `chunk`.
    """

    text: str
    terms: tuple[Term, ...]
    facts: Facts
    chunks: tuple[Phrase, ...]


@lru_cache(maxsize=1 << 14)
def read(text: str) -> Reading | None:
    """Read what a phrase says. None if no noun is found in it.

    Args:
        text: One phrase, for example "a small dog on a red sofa".
    """
    chunks = chunk(text)
    if not chunks:
        return None
    words = [(match.group().lower(), match.start(), match.end()) for match in _WORD.finditer(text)]
    nouns = {phrase.head_start: name_of(phrase.head) for phrase in chunks}
    main = max((phrase for phrase in chunks if phrase.start == chunks[0].start), key=lambda phrase: phrase.head_start)
    slots: dict[Slot, set[str]] = {}
    terms = []
    for start, end, senses in _matches(words):
        sense = _in_place(senses, start, end, words, nouns, main)
        if sense is None:
            continue
        noun = next((nouns[position] for position in sorted(nouns) if position >= start), nouns[main.head_start])
        terms.append(Term(start, end, sense, noun))
        if sense.kind != "object":
            slots.setdefault((sense.kind, sense.block), set()).add(sense.name)
    first = words[0][0] if words else ""
    before = [word for word, _, end in words if end <= main.head_start]
    sense = lexicon().sense(main.head.lower(), "object")
    is_plural = any(word in _PLURAL_DETERMINERS for word in before) or bool(sense and sense.is_plural)
    is_plural = is_plural or (sense is None and singular(main.head.lower()) != main.head.lower())
    facts = Facts(
        nouns[main.head_start],
        frozenset(nouns.values()),
        {slot: frozenset(names) for slot, names in slots.items()},
        is_definite=first in _DEFINITE,
        is_plural=is_plural,
    )
    return Reading(text, tuple(terms), facts, chunks)


def _matches(words: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, int, tuple[Sense, ...]]]:
    """Yield the terms of the lexicon in a text, the longest at each place."""
    senses, starters = lexicon().senses, _starters()
    index = 0
    while index < len(words):
        longest = starters.get(words[index][0], 0)
        for length in range(min(longest, len(words) - index), 0, -1):
            term = words[index][0] if length == 1 else " ".join(word for word, _, _ in words[index : index + length])
            matched = senses.get(term)
            if matched:
                yield words[index][1], words[index + length - 1][2], matched
                index += length - 1
                break
        index += 1


@cache
def _starters() -> dict[str, int]:
    """Return for each first word how many words its longest term has."""
    longest: dict[str, int] = {}
    for term in lexicon().senses:
        words = term.split(" ")
        longest[words[0]] = max(len(words), longest.get(words[0], 0))
    return longest


def _in_place(
    senses: tuple[Sense, ...],
    start: int,
    end: int,
    words: Sequence[tuple[str, int, int]],
    nouns: dict[int, str],
    main: Phrase,
) -> Sense | None:
    """Return the sense of a term where it stands: an object where it is a noun, a color before one."""
    if start in nouns and not _is_made_of(words, start, senses):
        return next((sense for sense in senses if sense.kind == "object"), None)
    sense = next((sense for sense in senses if sense.kind != "object"), None)
    if sense is None:
        return None
    after = next((word for word, position, _ in words if position >= end), "")
    if sense.kind == "color" and sense.name in _SHADES and lexicon().sense(after, "color") is None:
        return None
    is_behind = start > main.head_start
    if sense.kind == "action":
        return sense if is_behind and after not in ("and", "or") else None
    if sense.kind == "position":
        return sense if is_behind or " " in sense.name else None
    return sense


def _is_made_of(words: Sequence[tuple[str, int, int]], start: int, senses: tuple[Sense, ...]) -> bool:
    """True if "made of" stands before a material."""
    before = [word for word, position, _ in words if position < start][-2:]
    return before[-1:] == ["of"] and before[:1] != ["glass"] and any(sense.kind == "material" for sense in senses)


class Evidence(NamedTuple):
    """A phrase that stands in a caption by itself, and which caption that is."""

    facts: Facts
    text: str
    caption: int


def evidence(captions: Sequence[str], phrases: Iterable[str]) -> tuple[Evidence, ...]:
    """Return what the texts about a picture say there is.

    Args:
        captions: Texts about the whole of it. The phrases that stand within no other phrase are taken.
        phrases: Of its regions. One that stands in no caption is a caption of its own.
    """
    collected = []
    for number, caption in enumerate(captions):
        collected += [phrase._replace(caption=number) for phrase in _standing(caption)]
    low = [caption.lower() for caption in captions]
    for number, phrase in enumerate(phrases, start=1):
        reading = read(phrase)
        if reading is not None and not any(phrase.lower() in caption for caption in low):
            collected.append(Evidence(reading.facts, phrase.lower(), -number))
    return tuple(collected)


@lru_cache(maxsize=1 << 10)
def _standing(caption: str) -> tuple[Evidence, ...]:
    """Return the outermost phrases of a caption, each fact once, without sums and mentions of others."""
    by_text: dict[str, Evidence] = {}
    reach = -1
    for phrase in chunk(caption):
        if phrase.end <= reach:
            continue
        reach = phrase.end
        reading = read(phrase.text)
        if reading is not None:
            by_text.setdefault(phrase.text.lower(), Evidence(reading.facts, phrase.text.lower(), 0))
    single = [named.facts for named in by_text.values() if not named.facts.is_plural]
    return tuple(
        named
        for named in by_text.values()
        if not (_is_sum(named.facts, single) if named.facts.is_plural else _is_mention(named.facts, single))
    )


def _is_mention(facts: Facts, single: Sequence[Facts]) -> bool:
    """True if "the dog" is one that other words describe: then it is no further thing."""
    more = (longer for longer in single if facts.says_no_more_than(longer) and not longer.says_no_more_than(facts))
    return facts.is_definite and next(more, None) is not None


def _is_sum(counted: Facts, single: Sequence[Facts]) -> bool:
    """True if "two dogs" are described one by one besides; then the sum adds no thing."""
    if any(kind != "number" for kind, _ in counted.slots):
        return False
    counts = [_COUNTS.index(name) for names in counted.slots.values() for name in names if name in _COUNTS]
    members = [facts for facts in single if facts.mentions(counted.main)]
    distinct = {
        (facts.nouns, frozenset(facts.slots.items()))
        for facts in members
        if not any(facts.says_no_more_than(longer) and not longer.says_no_more_than(facts) for longer in members)
    }
    return len(distinct) >= min(counts, default=2)


def names_by_kind(phrases: Iterable[Evidence]) -> dict[str, frozenset[str]]:
    """Return all names that the texts say, by kind: of things ("object") and of what they are like."""
    names: dict[str, set[str]] = {"object": set()}
    for phrase in phrases:
        names["object"] |= phrase.facts.nouns
        for (kind, _), said_names in phrase.facts.slots.items():
            names.setdefault(kind, set()).update(said_names)
    return {kind: frozenset(said_names) for kind, said_names in names.items()}


class OtherFacts(NamedTuple):
    """Facts that hard negatives of a phrase must contradict.

    Attributes:
        other_things: What is said of other things.
        around: What is said where the phrase is part of what is said: "a dog on a red sofa" around "a red sofa", or
            where it is named again: "the sofa".
            Only a hard negative that names another thing may be true of it.
    """

    other_things: list[Facts]
    around: list[Facts]


def other_facts(truth: Reading, phrases: Sequence[Evidence], captions: Sequence[str]) -> OtherFacts:
    """Return what may be said of other things than the one that a phrase names.

    A phrase of the same caption names another thing, unless it says no more and begins with "the" or the like. One of
    another caption names the same thing where it does not contradict.

    Args:
        truth: The phrase.
        phrases: From `evidence`.
        captions: The same as there, in lower case.
    """
    described, text = truth.facts, truth.text.lower()
    own_captions = {number for number, caption in enumerate(captions) if text in caption}
    result = OtherFacts([], [])
    for facts, words, number in phrases:
        if words in text:
            continue
        if text in words:
            result.around.append(facts)
        elif number >= 0 and number not in own_captions:  # another caption may name the same thing
            if described.contradicts(facts):
                result.other_things.append(facts)
        elif described.is_definite and described.says_no_more_than(facts):  # "the sofa" after "a dog on a red sofa"
            result.around.append(facts)
        elif not ((facts.is_definite or number < 0) and _is_named_again(described, facts)):
            result.other_things.append(facts)
    return result


def _is_named_again(left: Facts, right: Facts) -> bool:
    """True if one of two phrases says no more than the other."""
    return right.says_no_more_than(left) or left.says_no_more_than(right)


def without_article(text: str) -> str:
    """Return a phrase in lower case without its first article: what makes two phrases a repeat."""
    words = text.lower().split()
    if len(words) > 1 and words[0] in _ARTICLES:
        del words[0]
    return " ".join(words)
