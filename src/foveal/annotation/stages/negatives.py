"""Hard negatives: phrases that nearly fit a region, up to ten of stated kinds.

FG-CLIP (arXiv:2505.05071, section 3.2) has a language model rewrite attributes and keep the name of the object, ten for
each phrase. Here a model behind an endpoint does so, or rules with our own word lists do; what either writes goes
through the same checks. A hard negative is never a synonym of the truth, never what the picture's other texts may
say of another thing in it, and never a repeat.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from ...encoder import Encoder
from ...encoder.load import load_once
from ...language.facts import (
    Evidence,
    Facts,
    OtherFacts,
    Reading,
    Slot,
    evidence,
    exclude,
    names_by_kind,
    namesakes,
    other_facts,
    read,
    without_article,
)
from ...language.lexicon import KINDS, Sense
from ...language.substitution import NO_COMMON, Change, Common, changes, common_of, rewrite
from ...language.wordnet import WordNet
from ...types import Negative, Region, Sample
from ..assistant.items import by_index, items_schema, numbered_lines
from ..assistant.prompt import fill
from ..assistant.protocol import AssistantProtocol, threads
from ..stage import remark
from .phrases import clean

if TYPE_CHECKING:
    from .settings import Settings

SCHEMA = items_schema(
    "negatives",
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "kind": {"type": "string", "enum": list(KINDS)}},
            "required": ["text", "kind"],
            "additionalProperties": False,
        },
    },
)
OFTEN = 3
"""Samples that say a name before it counts as common."""
_LONGEST = 1.6  # a hard negative has at most so many times the words of the truth


@dataclass(frozen=True)
class Negatives:
    """Stage that adds hard negatives to every region that has none.

    Attributes:
        count: Hard negatives of a region at most.
        kinds: What may be changed, of `KINDS`.
        objects: How many of those that rules write name another thing, where attributes would leave no room.
        assistant: Writes them. None: rules do.
        prompt: What the assistant is asked, see `prompt.fill`.
        at_once: Phrases in one question.
        seed: Of what the rules draw; the same sample gets the same hard negatives in any order of samples.
        encoder: Looks at the region: an encoder, or its name for `foveal.load`. None: texts alone are judged.
        margin: A hard negative more similar to the region than its phrase, by more than this, is taken for true.
        wordnet: Folder of WordNet's files. It knows more nouns: their hard negatives, and what may name the same.
        common: What rules take before other names. None: what the first texts of a run say, see `prepared`.
    """

    count: int = 10
    kinds: tuple[str, ...] = KINDS
    objects: int = 4
    assistant: AssistantProtocol | None = None
    prompt: str = "negatives.v1"
    at_once: int = 8
    seed: int = 0
    encoder: Encoder | str | None = None
    margin: float = 0.05
    wordnet: Path | None = None
    common: Common | None = None

    def __post_init__(self) -> None:
        unknown = next((kind for kind in self.kinds if kind not in KINDS), None)
        if unknown is not None:
            raise ValueError(f"There is no kind of negative '{unknown}'. There are: {', '.join(KINDS)}.")
        self._nouns()

    def _nouns(self) -> WordNet | None:
        return None if self.wordnet is None else WordNet(self.wordnet)

    @classmethod
    def of(cls, settings: "Settings") -> "Negatives":
        """Build with the settings' assistant; by rules if there is none."""
        return cls(assistant=settings.assistant, seed=settings.seed)

    @property
    def concurrency(self) -> int:
        """How many samples may wait for answers at once."""
        return 1 if self.assistant is None else threads(self.assistant)

    def prepared(self, samples: Iterable[Sample]) -> "Negatives":
        """Return the stage that knows which names are common in a source.

        Args:
            samples: Its first ones. What `OFTEN` of them say is common.
        """
        if self.assistant is not None or self.common is not None:
            return self
        phrases = (map(read, {phrase.text for phrase in evidence(_texts(sample), ())}) for sample in samples)
        return replace(self, common=common_of(map(partial(filter, None), phrases), OFTEN))

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample, every region with hard negatives where some could be found."""
        open_regions = [index for index, region in enumerate(sample.regions) if not region.negatives]
        if not open_regions:
            return sample
        captions = _texts(sample)
        phrases = evidence(captions, (region.phrase for region in sample.regions))
        context = _Context(phrases, tuple(caption.lower() for caption in captions), names_by_kind(phrases))
        regions = list(sample.regions)
        if self.assistant is None:
            for index in open_regions:
                regions[index] = self._by_rule(regions[index], context, sample.id)
        else:
            for start in range(0, len(open_regions), self.at_once):
                batch = open_regions[start : start + self.at_once]
                answers = self._ask([regions[index].phrase for index in batch], captions[0] if captions else "")
                for index, answer in zip(batch, answers, strict=True):
                    regions[index] = self._judged(regions[index], answer, context)
        if self.encoder is not None:
            regions = self._unfitting_removed(sample, regions)
        remark("region without negatives", sum(not regions[index].negatives for index in open_regions))
        return replace(sample, regions=tuple(regions))

    def _by_rule(self, region: Region, context: "_Context", name: str) -> Region:
        reading = read(region.phrase)
        if reading is None:
            return region
        nearby_facts = context.other_facts(reading)
        rng = Random(f"negatives {self.seed} {name} {region.phrase}")
        check = ContradictionCheck(reading.facts, nearby_facts, context.nearby["object"], self._nouns())
        options = changes(reading, rng, self.kinds, context.nearby, self.common or NO_COMMON, self._nouns())
        attributes = check.without(options.attributes, self.count)
        objects = check.without(options.objects, min(self.count, max(self.objects, self.count - len(attributes))))
        negatives = attributes[: max(self.count - len(objects), self.count - self.objects)] + objects
        negatives += check.without(options.strange, max(0, self.count - len(negatives)))
        remark("negative that may be true of another thing", check.refused)
        return Region(region.box, region.phrase, tuple(negatives[: self.count]))

    def _ask(self, phrases: Sequence[str], caption: str) -> list[tuple[Negative, ...]]:
        assert self.assistant is not None
        question = fill(self.prompt, count=self.count, phrases=numbered_lines(phrases), caption=caption)

        def check(answer: Any) -> list[tuple[Negative, ...]]:
            negatives: list[tuple[Negative, ...]] = [()] * len(phrases)
            for index, item in by_index(answer, len(phrases)):
                negatives[index] = tuple(Negative(texts["text"], texts["kind"]) for texts in item["negatives"])
            return negatives

        answers: list[tuple[Negative, ...]] = self.assistant.ask(question, SCHEMA, check=check)
        return answers

    def _judged(self, region: Region, answer: Sequence[Negative], context: "_Context") -> Region:
        """Return the region with those answers that stand the checks."""
        truth = read(region.phrase)
        nearby_facts = context.other_facts(truth) if truth else OtherFacts([], [])
        accepted: dict[str, Negative] = {}
        for negative in answer:
            tidy = replace(negative, text=clean(negative.text).strip(" ."))
            key = without_article(tidy.text)
            reason = flaw(tidy, region.phrase, truth, nearby_facts, self._nouns())
            reason = "negative that repeats another" if key in accepted else reason
            if negative.kind not in self.kinds:
                reason = "negative of an unwanted kind"
            if reason:
                remark(reason)
            else:
                accepted[key] = tidy
        return replace(region, negatives=tuple(accepted.values())[: self.count])

    def _unfitting_removed(self, sample: Sample, regions: list[Region]) -> list[Region]:
        """Return the regions without those hard negatives that fit what is seen there too well."""
        encoder = load_once(self.encoder) if isinstance(self.encoder, str) else self.encoder
        assert encoder is not None
        boxes = encoder.encode_regions([sample.image], [[region.box for region in regions]])[0]
        texts = [
            text for region in regions for text in (region.phrase, *(negative.text for negative in region.negatives))
        ]
        embedded = encoder.encode_texts(texts, kind="phrase").split([1 + len(region.negatives) for region in regions])
        filtered = []
        for region, box, rows in zip(regions, boxes, embedded, strict=True):
            similarity = rows @ box
            fits = (similarity[1:] <= similarity[0] + self.margin).tolist()
            negatives = tuple(negative for negative, is_false in zip(region.negatives, fits, strict=True) if is_false)
            remark("negative that fits better than the phrase", len(region.negatives) - len(negatives))
            filtered.append(replace(region, negatives=negatives))
        return filtered


def _texts(sample: Sample) -> list[str]:
    """Return the texts about a whole picture, the longest first."""
    return [text for text in (sample.long_caption, *sample.captions) if text]


@dataclass(frozen=True)
class _Context:
    """Phrases and names in the texts of a sample, for all its regions.

    Attributes:
        phrases: Each phrase of theirs.
        captions: The texts themselves, in lower case.
        nearby: Names said, by kind.
    """

    phrases: tuple[Evidence, ...]
    captions: tuple[str, ...]
    nearby: dict[str, frozenset[str]]

    def other_facts(self, truth: Reading) -> OtherFacts:
        return other_facts(truth, self.phrases, self.captions)


class ContradictionCheck:
    """Check that other facts contradict each change of a phrase. Only what a change touches is compared.

    Attributes:
        refused: Changes that may be true of another thing, so far.
    """

    def __init__(
        self, truth: Facts, nearby_facts: OtherFacts, named: frozenset[str], wordnet: WordNet | None = None
    ) -> None:
        self.truth, self.wordnet, self.refused = truth, wordnet, 0
        self.named, self.namesakes = named, _namesakes(named)
        # attributes change no noun, and what does not name the same thing is no other one of its kind
        self.same_noun = [facts for facts in nearby_facts.other_things if facts.mentions(truth.main)]
        compatible = [facts for facts in (*nearby_facts.other_things, *nearby_facts.around) if not truth.differs(facts)]
        self.nouns = frozenset().union(*(facts.nouns for facts in compatible))
        self.mains = frozenset().union(*(namesakes(facts.main) for facts in compatible))
        self._doubtful_names: dict[Slot, tuple[frozenset[str], ...]] = {}

    def without(self, options: Iterable[Change], count: int) -> list[Negative]:
        """Return the hard negatives of changes, without those that may be true of another thing; so many at most."""
        negatives: list[Negative] = []
        for change in options if count else ():
            if not self._contradict(change.term.sense, change.name):
                self.refused += 1
                continue
            negatives.append(rewrite(change))
            if len(negatives) == count:
                break
        return negatives

    def _contradict(self, sense: Sense, name: str) -> bool:
        """True if all other facts contradict the phrase after a name has been put in place of a sense of its."""
        if sense.kind == "object":
            if self.wordnet is not None and _is_kin(name, {sense.name, *self.nouns}, self.wordnet):
                return False
            if name not in self.namesakes and self.named.isdisjoint(namesakes(name)):  # not told of, so not there
                return True
            main = name if self.truth.main == sense.name else self.truth.main
            if name in self.mains or not self.nouns.isdisjoint(namesakes(main)):
                return False
            return self.mains.isdisjoint(self.truth.nouns - {sense.name})
        slot = (sense.kind, sense.block)
        doubtful_names = self._doubtful_names.get(slot)
        if doubtful_names is None:
            doubtful = [facts for facts in self.same_noun if not self.truth.differs(facts, aside=slot)]
            doubtful_names = self._doubtful_names[slot] = tuple(
                {facts.slots.get(slot, frozenset()) for facts in doubtful}
            )
        changed = (self.truth.slots[slot] - {sense.name}) | {name}
        return all(names and exclude(slot, changed, names) for names in doubtful_names)


@lru_cache(maxsize=1 << 10)
def _namesakes(nouns: frozenset[str]) -> frozenset[str]:
    """Return what some nouns may be called too."""
    return frozenset().union(*map(namesakes, nouns))


def _is_kin(name: str, nouns: Iterable[str], wordnet: WordNet) -> bool:
    """True if a noun may name what one of some others names."""
    return any(wordnet.may_name(name, noun) for noun in nouns)


def flaw(
    negative: Negative, phrase: str, truth: Reading | None, nearby_facts: OtherFacts, wordnet: WordNet | None = None
) -> str:
    """Return why a hard negative that no rule wrote is of no use. Empty if it is of use.

    Args:
        negative: The hard negative.
        phrase: The truth.
        truth: The truth, read.
        nearby_facts: What is said of other things, from `facts.other_facts`.
        wordnet: Knows more synonyms than the lexicon.
    """
    if not negative.text or without_article(negative.text) == without_article(phrase):
        return "negative that is the phrase itself"
    if len(negative.text.split()) > _LONGEST * len(phrase.split()) + 2:
        return "negative that is too long"
    reading = read(negative.text)
    if reading is None or truth is None:
        return "negative that names nothing" if reading is None else ""
    opponents = nearby_facts.other_things + (nearby_facts.around if negative.kind == "object" else [])
    flaws = {
        "negative that names another object": negative.kind != "object" and reading.facts.main != truth.facts.main,
        "negative that is a synonym": _says_the_same(reading, truth)
        or (wordnet is not None and _only_names_change(reading.facts, truth.facts, wordnet)),
        "negative that may be true of another thing": any(not fact.contradicts(reading.facts) for fact in opponents),
    }
    return next((reason for reason, is_so in flaws.items() if is_so), "")


def _says_the_same(reading: Reading, truth: Reading) -> bool:
    """True if two phrases differ in other words for the same only, or in what may be true of the same thing."""
    if reading.facts.nouns != truth.facts.nouns and not (
        reading.facts.mentions(truth.facts.main) and reading.facts.main != truth.facts.main
    ):
        return False
    strange = _unknown(reading) ^ _unknown(truth)
    return not strange and not reading.facts.contradicts(truth.facts) and _places(reading) == _places(truth)


def _only_names_change(left: Facts, right: Facts, wordnet: WordNet) -> bool:
    """True if two phrases differ in nouns that may name the same, and in nothing that the lexicon knows."""
    new, old = left.nouns - right.nouns, right.nouns - left.nouns
    is_renamed = bool(new) and all(_is_kin(name, old, wordnet) for name in new)
    return is_renamed and left.slots == right.slots


def _places(reading: Reading) -> set[str]:
    return {term.sense.name for term in reading.terms if term.sense.kind in ("position", "object")}


def _unknown(reading: Reading) -> set[str]:
    """Return the words that the lexicon says nothing of."""
    covered = {index for term in reading.terms for index in range(term.start, term.end)}
    text = "".join(" " if index in covered else letter for index, letter in enumerate(reading.text.lower()))
    return {word for word in text.split() if word not in ("a", "an", "the")}
