"""Phrases of a caption by rules alone: no model, no packages, thousands of captions a second.

Words are told apart by short lists and by their endings; a phrase is then a run of words that ends in a noun, and what
follows it and belongs to it. spaCy's parse (`phrases.py`) sees more; this stands in where it is not installed, and
reads what must be read fast: the phrases that a hard negative must not fit.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from .lexicon import lexicon, singular, word_classes, words

_TOKEN = re.compile(r"""["“][^"“”\n]{1,60}["”]|[^\W_]+(?:[-’'][^\W_]+)*|[^\w\s]|_""")
NOUN_PREPOSITIONS = frozenset({"of", "with", "without", "in", "on"})  # what they bring belongs to the noun before
_ADJECTIVE_END = re.compile(
    r".{3,}(?:ous|ful|less|ish|able|ible|ive|ical|onal|ular|like|most|tary|rary|atic|istic|etic)"
    r"|.+-(?:\w+ed|\w+ing|level|angle|style|type|size|like|set|up|year-old|tone|length)"
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of a caption that name something one can point at.

    Attributes:
        text: The words, as the caption has them.
        start: Where they begin in the caption, in characters.
        end: Where they end.
        head: The noun, as the caption has it.
        head_start: Where the noun begins.
        attributes: What stands between determiner and noun, word by word.
    """

    text: str
    start: int
    end: int
    head: str
    head_start: int
    attributes: tuple[str, ...] = ()

    @property
    def core(self) -> str:
        """The phrase without what follows its noun: "a brown dog" of "a brown dog on a sofa"."""
        return self.text[: self.head_start - self.start + len(self.head)]


class _Token(NamedTuple):
    text: str
    lower: str
    start: int
    end: int


@dataclass(slots=True)
class _Chunk:
    """Tokens `first` to `head`, both included; `last` is where its modifiers end."""

    first: int
    head: int
    last: int
    is_object: bool = False
    is_nested: bool = False  # named by another phrase: "a group" of "a group of people"
    begin: int = -1

    def __post_init__(self) -> None:
        self.begin = self.first


@cache
def unseen() -> frozenset[str]:
    """Return the nouns that name nothing one can draw a box around."""
    return words("unseen")


@cache
def places() -> frozenset[str]:
    """Return the nouns that name a place in the picture where a preposition leads to them."""
    return words("places")


@cache
def collectives() -> frozenset[str]:
    """Return the nouns that count what stands behind "of"."""
    nouns = words("collectives")
    return nouns | {noun + "s" for noun in nouns}


@lru_cache(maxsize=1 << 16)
def is_unseen(noun: str) -> bool:
    """True if a noun names nothing one can draw a box around; also where it is a plural, or a mere color."""
    senses = lexicon().senses.get(noun, ())
    is_color = any(sense.kind in ("color", "size", "position") and sense.name != "light" for sense in senses)
    is_more = any(sense.kind in ("object", "material") for sense in senses)
    return noun in unseen() or singular(noun) in unseen() or noun in collectives() or (is_color and not is_more)


@lru_cache(maxsize=1 << 12)
def chunk(caption: str) -> tuple[Phrase, ...]:
    """Return the phrases of a caption, by rules, in the order in which they begin.

    Args:
        caption: English, of any length.

    Returns:
        Phrases, nested ones included: "a dog on a sofa" gives itself and "a sofa".
    """
    tokens = _tokenize(caption)
    tags = _tag(tokens)
    chunks = _chunks(tokens, tags)
    starts = {run.first: run for run in chunks}
    for run in reversed(chunks):  # what an inner phrase reaches is known before the outer one asks
        _extend(run, tokens, tags, starts)
    visible = [run for run in chunks if not run.is_nested and _is_seen(run, tokens, tags, starts)]
    return tuple(sorted((_phrase(caption, run, tokens) for run in visible), key=lambda phrase: phrase.start))


def _is_seen(run: _Chunk, tokens: Sequence[_Token], tags: Sequence[str], starts: dict[int, _Chunk]) -> bool:
    """True if a phrase names a thing and neither a place in the picture, a mere color, nor an event."""
    noun = tokens[run.head].lower
    if noun not in places():
        return not is_unseen(noun)
    whole = starts.get(run.head + 2)
    is_part = tokens[min(run.head + 1, len(tokens) - 1)].lower == "of" and whole is not None
    is_led_to = run.first > 0 and tags[run.first - 1] == "PREP"
    is_part = is_part and not is_led_to and not is_unseen(tokens[whole.head].lower if whole else "")
    return is_part or (run.head > run.first and tags[run.head - 1] == "NOUN")


def _tokenize(caption: str) -> list[_Token]:
    tokens = []
    for match in _TOKEN.finditer(caption):
        text, (start, end) = match.group(), match.span()
        if text.endswith(("'s", "’s")) and len(text) > 2:
            tokens.append(_Token(text[:-2], text[:-2].lower(), start, end - 2))
            text, start = text[-2:], end - 2
        tokens.append(_Token(text, text.lower(), start, end))
    return tokens


@cache
def _verbs() -> dict[str, str]:
    """Return the forms of verbs: "s" third person, "base", "ing", "ed"."""
    forms: dict[str, str] = {}
    for base in sorted(words("verbs")):  # "goes" is the third person of "go", whatever order a set has
        stem = base[:-1] if base.endswith("e") else base
        soft = base[:-1] + "i" if base.endswith("y") and base[-2] not in "aeiou" else stem
        third = (
            soft + "es" if soft.endswith("i") else base + ("es" if base.endswith(("s", "sh", "ch", "x", "o")) else "s")
        )
        forms |= {stem + "ing": "ing", soft + "ed": "ed"}  # "running" is known by its ending
        forms.setdefault(third, "s")
        forms.setdefault(base, "base")
    for irregular in word_classes()["participles"]:
        forms[irregular] = "ed"
    forms["lying"] = forms["tying"] = forms["dying"] = "ing"
    return forms


def is_function_word(word: str) -> bool:
    """True if a word in lower case is one of the small ones that hold English sentences together."""
    return word in _closed()


def is_noun(word: str) -> bool:
    """True if a word is a noun by itself, as far as lists and endings tell."""
    return _class_of(word) == "NOUN"


@lru_cache(maxsize=1 << 16)
def _class_of(word: str) -> str:
    """Return the class of a word by itself, before its neighbors are looked at."""
    if len(word) > 1 and word[0] in '"“':
        return "QUOTE"
    if not word[0].isalnum():
        return "POSS" if word in ("'s", "’s") else "STOP"
    return _closed().get(word) or ("DET" if word.isdigit() else _open_class(word))


@cache
def _closed() -> dict[str, str]:
    """Return the classes of small words."""
    classes = word_classes()
    return {word: tag for tag in ("ADV", "PRON", "CONJ", "PREP", "REL", "DET", "AUX") for word in classes[tag]}


def _open_class(word: str) -> str:
    kinds = {sense.kind for sense in lexicon().senses.get(word, ())}
    if kinds & {"color", "pattern", "size"} or word in _adjectives():
        return "ADJ"
    form = _FORMS.get(_verbs().get(word, ""), "")
    is_noun = bool(kinds & {"object", "material", "number"})
    if form in ("ING", "ED") or (form and not is_noun):
        return form
    if is_noun or _ADJECTIVE_END.fullmatch(word):
        return "NOUN" if is_noun else "ADJ"
    for ending, tag in (("ly", "ADV"), ("ing", "ING"), ("ed", "ED")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and word not in word_classes()["not_adverbs"]:
            return tag
    return "NOUN"


@cache
def _counts() -> frozenset[str]:
    """Return the words that count things: "two", "few"."""
    return frozenset(term for term, senses in lexicon().senses.items() if any(s.kind == "number" for s in senses))


@cache
def _no_attributes() -> frozenset[str]:
    return word_classes()["DET"] | {"and", "or", "of"}


@cache
def _adjectives() -> frozenset[str]:
    return words("adjectives")


_FORMS = {"ing": "ING", "ed": "ED", "s": "VERBS", "base": "VERB"}
_NOMINAL = ("NOUN", "ADJ")
_VERBAL = ("VERB", "VERBS", "ING", "ED")


def _tag(tokens: Sequence[_Token]) -> list[str]:
    """Return the class of each word among its neighbors."""
    classes = [_class_of(token.lower) for token in tokens]
    tags: list[str] = []
    for index, (token, tag) in enumerate(zip(tokens, classes, strict=True)):
        before = tags[-1] if tags else "STOP"
        after = classes[index + 1] if index + 1 < len(tokens) else "STOP"
        last = tokens[index - 1].lower if index else ""
        if tag == "ING" and after != "DET" and token.lower in word_classes()["nouns_in_ing"]:
            tag = "NOUN"  # "a brick building", but "men building a house"
        elif tag in _VERBAL:
            tag = _verbal(tag, before, after, last, is_noun_to_come=_is_open(tags))
        elif tag == "DET":
            tag = _determiner(token.lower, before, after)
        elif tag == "ADJ":
            tag = _adjective(token.lower, before, after, last)
        elif tag == "NOUN" and last == "to" and after == "DET":
            tag = "VERB"  # "to plow a field"
        else:
            tag = _particle(token.lower, tag, before, after)
        tags.append(tag)
    return tags


def _determiner(word: str, before: str, after: str) -> str:
    """Tag a determiner: numbers and the like stand for a noun where none follows."""
    if word == "others":
        return "NOUN"
    leads = after in (*_NOMINAL, "DET", "ING", "ED", "ADV", "VERB", "QUOTE")
    if word in ("all", "both", "each") and (before == "AUX" or not leads):
        return "PRON"
    if (
        word in word_classes()["standing_alone"]
        and not leads
        and not (after == "PREP" and word not in ("one", "another"))
    ):
        return "NOUN" if before in ("DET", "ADJ") else "PRON"
    return "DET"


def _adjective(word: str, before: str, after: str, last: str) -> str:
    """Tag an adjective: behind a determiner it stands for a noun where none follows, as in "the left"."""
    if last == "each":
        return "PRON"
    ends = after not in (*_NOMINAL, *_VERBAL, "ADV", "CONJ", "DET", "STOP")
    ends = ends or (word in places() and after in ("VERB", "VERBS"))
    if (ends and before in ("DET", "ADJ")) or (before == "STOP" and after == "AUX"):
        return "NOUN"
    return "ADJ"


def _particle(word: str, tag: str, before: str, after: str) -> str:
    """Tag a word that modifies what follows it, or leads to it."""
    if tag == "ADV" and before in ("DET", "ADJ") and after in ("ADJ", "ED", "ING", "NOUN"):
        return "ADJ"
    if tag == "REL" and word == "that" and before in ("STOP", *_VERBAL, "PREP", "CONJ") and after in _NOMINAL:
        return "DET"
    if tag == "PREP" and word in ("next", "opposite", "past", "inside", "outside") and before == "DET":
        return "ADJ" if after in _NOMINAL else "NOUN"
    return tag


def _verbal(tag: str, before: str, after: str, last: str, *, is_noun_to_come: bool) -> str:
    """Tag a verb's form: a verb after a noun, part of the noun to come after a determiner or an adjective."""
    if before in ("DET", "POSS") or (before == "ADJ" and is_noun_to_come):
        if last in ("another", "each", "one") and tag == "VERBS":
            return "VERB"
        return "ADJ" if tag in ("ING", "ED") and after in (*_NOMINAL, "ED", "ING", "VERB") else "NOUN"
    if tag in ("ING", "ED"):
        is_modifier = before in ("STOP", "PREP", "CONJ") and after in ("NOUN", "VERB") and tag == "ED"
        return "ADJ" if is_modifier else tag
    if last == "to" and tag == "VERB":
        return "VERB"
    ends = before in ("CONJ", "STOP") and after in ("STOP", "PREP", "CONJ", "AUX")
    is_noun = before in ("PREP", "ADJ") or ends or (before == "NOUN" and after in ("AUX", "VERBS"))
    return "NOUN" if is_noun else "VERB"


def _is_open(tags: Sequence[str]) -> bool:
    """True if the adjectives that end here follow a determiner or begin a phrase, and no "is"."""
    return next((tag for tag in reversed(tags) if tag not in ("ADJ", "ADV", "CONJ")), "") != "AUX"


def _chunks(tokens: Sequence[_Token], tags: Sequence[str]) -> list[_Chunk]:
    """Return the runs of determiners, modifiers and nouns that end in a noun."""
    chunks: list[_Chunk] = []
    index, count = 0, len(tokens)
    while index < count:
        if tags[index] not in ("DET", "ADJ", "NOUN") and not _is_intensified(tokens, tags, index):
            index += 1
            continue
        first, head = index, -1
        while index < count:
            tag = tags[index]
            if tag == "NOUN":
                head = index
            elif tag == "POSS" and head >= 0:
                chunks.append(_Chunk(first, head, head))
            elif index > first and not _goes_on(tokens, tags, index, head):
                break
            index += 1
        if head < 0 and tags[first] == "DET" and index > first + 1 and tags[index - 1] == "ADJ":
            head = index - 1  # "the lower left": an adjective in place of a noun
        if head >= 0:
            before = tags[first - 1] if first else "STOP"
            if first and tokens[first - 1].lower in word_classes()["presenting"]:
                before = "AUX"
            is_led_to = first > 1 and before == "PREP" and tokens[first - 2].lower not in word_classes()["presenting"]
            before_that = tags[first - 2] if is_led_to else before
            is_object = before in ("VERB", "ING", "ED") or before_that in ("ING", "ED")
            chunks.append(_Chunk(first, head, head, is_object=is_object))
        index = max(index, first + 1)
    return chunks


def _goes_on(tokens: Sequence[_Token], tags: Sequence[str], index: int, head: int) -> bool:
    """True if a word that is no noun belongs to the run: modifiers before the noun, and what joins them."""
    tag = tags[index]
    if head >= 0:  # after a noun only a further noun belongs to it, and words that lead to one
        return tag == "ADJ" and tags[index - 1] in (*_NOMINAL, "POSS") and _leads_to_noun(tags, index)
    if tag == "DET" and tags[index - 1] == "ADJ":
        return tokens[index].lower in _counts()  # "the first two dogs", but "in the middle a dog"
    if tag in ("DET", "ADJ"):
        return True
    if tokens[index].lower in ("very", ","):
        return index + 1 < len(tags) and tags[index + 1] in ("ADJ",) and tags[index - 1] in ("DET", "ADJ")
    if tag == "CONJ":
        return tokens[index].lower in ("and", "or") and tags[index - 1] == "ADJ" and _leads_to_noun(tags, index + 1)
    return False


def _is_intensified(tokens: Sequence[_Token], tags: Sequence[str], index: int) -> bool:
    return tokens[index].lower == "very" and index + 1 < len(tags) and tags[index + 1] == "ADJ"


def _leads_to_noun(tags: Sequence[str], index: int) -> bool:
    is_adjective_first = index < len(tags) and tags[index] == "ADJ"
    while index < len(tags) and tags[index] == "ADJ":
        index += 1
    return is_adjective_first and index < len(tags) and tags[index] == "NOUN"


def _extend(run: _Chunk, tokens: Sequence[_Token], tags: Sequence[str], starts: dict[int, _Chunk]) -> None:
    """Move the end of a phrase behind what belongs to its noun."""
    index = run.head + 1
    while index < len(tokens):
        word, tag = tokens[index].lower, tags[index]
        follower = starts.get(index + 1)
        if tag == "PREP" and word in NOUN_PREPOSITIONS and follower is not None:
            if word == "of" and tokens[run.head].lower in collectives():
                follower.is_nested, run.head, run.last = True, follower.head, follower.last
            elif not _belongs(run, word, tokens[follower.head].lower):
                return
            else:
                run.last = _last_member(follower, tokens, tags, starts)
        elif tag == "QUOTE":
            run.last = index
        elif tag in ("ING", "ED", "REL") and not run.is_object:
            run.last = _clause(index, tokens, tags, starts)
        else:
            return
        index = run.last + 1


def _belongs(run: _Chunk, preposition: str, noun: str) -> bool:
    """True if the words behind a preposition belong to the phrase: behind a verb's object only "of" does."""
    if preposition in ("in", "on") and (noun in places() or is_unseen(noun)):
        return False
    return preposition == "of" or not run.is_object


def _last_member(run: _Chunk, tokens: Sequence[_Token], tags: Sequence[str], starts: dict[int, _Chunk]) -> int:
    """Return the end of a coordination, as of "a couch, a desk and a chair". No clause follows it."""
    last, index = run.last, run.last + 1
    while index + 1 < len(tokens):
        is_comma = tokens[index].lower == ","
        joined = index + 1 if is_comma and tokens[index + 1].lower in ("and", "or") else index
        member = starts.get(joined + 1)
        if member is None or not (is_comma or tokens[joined].lower in ("and", "or")):
            break
        index = member.last + 1
        ending = tags[index] if index < len(tags) else "STOP"
        if joined > index - 1 or tokens[joined].lower in ("and", "or"):
            return last if ending in ("VERB", "AUX") else member.last
        if ending in ("VERB", "AUX", "STOP") and (index >= len(tokens) or tokens[index].lower != ","):
            break
    return last


def _clause(index: int, tokens: Sequence[_Token], tags: Sequence[str], starts: dict[int, _Chunk]) -> int:
    """Return the last token of a participle's or a relative clause: with objects and places, up to a new clause."""
    last = index
    has_verb = tags[index] != "REL"
    while index < len(tokens):
        tag = tags[index]
        if index in starts:
            index = last = starts[index].last
        elif tag in ("STOP", "CONJ") or (tag in ("AUX", "VERB") and has_verb and tags[index - 1] != "AUX"):
            break
        else:
            has_verb = has_verb or tag in ("AUX", "VERB", "ED", "ING")
            is_loose = tag in ("PREP", "DET", "AUX", "REL") and not _ends(tags, index)
            last = last if is_loose else index
        index += 1
    return last


def _ends(tags: Sequence[str], index: int) -> bool:
    """True if a clause may end with this word: "reaching up."."""
    return tags[index] == "PREP" and (index + 1 == len(tags) or tags[index + 1] in ("STOP", "AUX"))


def _phrase(caption: str, run: _Chunk, tokens: Sequence[_Token]) -> Phrase:
    head = tokens[run.head]
    start, end = tokens[run.first].start, tokens[run.last].end
    between = [token.text for token in tokens[run.begin : run.head] if token.lower not in _no_attributes()]
    attributes = tuple(word for word in between if word[0].isalnum())
    return Phrase(caption[start:end], start, end, head.text, head.start, attributes)
