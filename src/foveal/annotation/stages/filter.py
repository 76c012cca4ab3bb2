"""The last look at a sample: what is not worth training on is taken away, and counted by its reason.

FG-CLIP filters by the detector's confidence alone and reports 1.1 % noise among its negatives (arXiv:2505.05071,
section 3.2). Checks of texts, similarity, near-duplicates and contamination by benchmarks are ours.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ...encoder import Encoder
from ...encoder.load import load_once
from ...language.chunker import is_function_word
from ...language.facts import without_article
from ...types import Negative, Region, Sample
from ..assistant.refusal import refuses
from ..duplicates.contamination import contaminated, fingerprints
from ..duplicates.fingerprints import picture_hash
from ..stage import Dropped, remark
from .phrases import clean

if TYPE_CHECKING:
    from .settings import Settings

_WORD = re.compile(r"[^\W_]+(?:[-’'][^\W_]+)*")
_GRAM = 4  # words: what repeats in a model that is stuck
_FOREIGN = re.compile(r"[^\W\d_a-zA-ZÀ-ÖØ-öø-ÿ]")


@dataclass(frozen=True)
class Filter:
    """Stage that drops samples of no use, and takes from others what has none.

    Attributes:
        words: Least and greatest number of words of a caption.
        phrase_words: The same of a phrase.
        repetition: Share of a caption's runs of four words that may be said again.
        english: Take away captions that are not English.
        unsaid: Keep phrases of which some noun or attribute stands in no caption.
        least_negatives: Regions with fewer hard negatives lose those they have; 0 keeps all.
        similarity: Least cosine of picture and caption. None: none is computed.
        encoder: For similarities: an encoder, or its name for `foveal.load`.
        duplicates: Ids of samples to drop, from `near_duplicates`.
        benchmarks: Whose pictures and captions must not come in, as `contamination.fingerprints` takes them.
        batch_size: Samples judged together.
    """

    words: tuple[int, int] = (2, 500)
    phrase_words: tuple[int, int] = (1, 40)
    repetition: float = 0.3
    english: bool = True
    unsaid: bool = False
    least_negatives: int = 0
    similarity: float | None = None
    encoder: Encoder | str = "starter"
    duplicates: frozenset[str] = frozenset()
    benchmarks: tuple[str, ...] = ()
    batch_size: int = 32

    @classmethod
    def of(cls, settings: "Settings") -> "Filter":
        """Build with the settings' benchmarks and without similarities, which are worth what their encoder is.

        Raises:
            ValueError: If a benchmark cannot be read.
        """
        for spec in settings.contamination:
            fingerprints(spec)
        return cls(benchmarks=settings.contamination, encoder=settings.encoder)

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample without what has no use.

        Raises:
            Dropped: If nothing of it has.
            ValueError: If the picture is broken and had to be looked at.
        """
        outcome = self.batch([sample])[0]
        if not isinstance(outcome, Sample):
            raise outcome
        return outcome

    def batch(self, samples: Sequence[Sample]) -> list[Sample | Dropped | ValueError]:
        """Return what becomes of each sample."""
        outcomes: list[Sample | Dropped | ValueError] = []
        for sample in samples:
            try:
                outcomes.append(self._judged(sample))
            except (Dropped, ValueError) as verdict:
                outcomes.append(verdict)
        return outcomes if self.similarity is None else self._similar(outcomes, self.similarity)

    def _judged(self, sample: Sample) -> Sample:
        if sample.id in self.duplicates:
            raise Dropped("near-duplicate picture")
        if self.benchmarks:
            reason = contaminated(sample, self.benchmarks, picture_hash(sample.image))
            if reason:
                raise Dropped(reason)
        long_caption = sample.long_caption if self._is_caption(sample.long_caption) else ""
        captions = tuple(filter(self._is_caption, sample.captions))
        if not captions and not long_caption:
            raise Dropped(self._reason(sample))
        judged = replace(sample, captions=captions, long_caption=long_caption)
        regions = (self._region(region, judged) for region in sample.regions)
        by_box_and_phrase: dict[tuple[object, str], Region] = {}
        for region in regions:
            if region is not None:
                by_box_and_phrase.setdefault((region.box, without_article(region.phrase)), region)
        judged = replace(
            judged,
            regions=tuple(by_box_and_phrase.values()),
            caption_negatives=self._negatives(sample.caption_negatives, captions[0]) if captions else (),
            long_caption_negatives=self._negatives(sample.long_caption_negatives, long_caption) if long_caption else (),
        )
        return judged

    def _is_caption(self, text: str) -> bool:
        problem = self._problem(text)
        if text.strip():
            remark(problem, 1 if problem else 0)
        return not problem

    def _reason(self, sample: Sample) -> str:
        texts = [text for text in (sample.long_caption, *sample.captions) if text.strip()]
        return self._problem(texts[0]) if texts else "no caption"

    def _problem(self, text: str) -> str:
        """Return what is wrong with a caption. Empty if nothing is."""
        words = [word.lower() for word in _WORD.findall(text)]
        if len(words) < self.words[0]:
            return "caption that is too short"
        if len(words) > self.words[1]:
            return "caption that is too long"
        if refuses(text):
            return "caption that refuses"
        if repetition(words) > self.repetition:
            return "caption that repeats itself"
        return "caption that is not English" if self.english and not is_english(text, words) else ""

    def _region(self, region: Region, sample: Sample) -> Region | None:
        """Return the region with its good negatives. None if its phrase is of no use."""
        phrase = clean(region.phrase)
        count = len(_WORD.findall(phrase))
        problem = ""
        if not self.phrase_words[0] <= count <= self.phrase_words[1]:
            problem = "phrase that is too short or too long"
        elif not self.unsaid and not is_said(phrase, (sample.long_caption, *sample.captions)):
            problem = "phrase not in the captions"
        if problem:
            remark(problem)
            return None
        return replace(region, phrase=phrase, negatives=self._negatives(region.negatives, phrase))

    def _negatives(self, negatives: Sequence[Negative], truth: str) -> tuple[Negative, ...]:
        """Return the negatives that are neither the truth nor a repeat, nor empty, nor a refusal."""
        taken = {without_article(truth)}
        usable = []
        is_refusing = refuses(". ".join(negative.text for negative in negatives))  # seldom, and slow one by one
        for negative in negatives:
            text = clean(negative.text) if "\n" in negative.text or ";" in negative.text else negative.text
            key = without_article(text)
            if not text.strip() or key in taken or (is_refusing and refuses(text)):
                remark("negative that is empty, a repeat or a refusal")
                continue
            taken.add(key)
            usable.append(negative if text == negative.text else replace(negative, text=text))
        if len(usable) < self.least_negatives:
            remark("negatives of a region with too few", len(usable))
            return ()
        return tuple(usable)

    def _similar(
        self, outcomes: "list[Sample | Dropped | ValueError]", least: float
    ) -> "list[Sample | Dropped | ValueError]":
        """Return the outcomes; samples whose caption does not fit their picture are dropped."""
        encoder = load_once(self.encoder) if isinstance(self.encoder, str) else self.encoder
        samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
        verdicts = iter(_fitting(samples, encoder, least))
        return [next(verdicts) if isinstance(outcome, Sample) else outcome for outcome in outcomes]


def _fitting(samples: list[Sample], encoder: Encoder, least: float) -> "list[Sample | Dropped | ValueError]":
    if not samples:
        return []
    try:
        pictures = encoder.encode_images([sample.image for sample in samples])
    except ValueError as error:
        if len(samples) == 1:
            return [error]
        return [verdict for sample in samples for verdict in _fitting([sample], encoder, least)]
    long = encoder.encode_texts([sample.long_caption or sample.captions[0] for sample in samples], "long_caption")
    short = encoder.encode_texts([sample.captions[0] if sample.captions else sample.long_caption for sample in samples])
    cosine = ((pictures * long).sum(1)).maximum((pictures * short).sum(1)).tolist()
    return [
        sample if value >= least else Dropped("caption that does not fit its picture")
        for sample, value in zip(samples, cosine, strict=True)
    ]


def repetition(words: Sequence[str]) -> float:
    """Return the share of a text's runs of four words that were there before: 0 for a text that never repeats."""
    grams = Counter(tuple(words[start : start + _GRAM]) for start in range(len(words) - _GRAM + 1))
    total = sum(grams.values())
    return 1 - len(grams) / total if total else 0.0


def is_english(text: str, words: Sequence[str]) -> bool:
    """True if a text is in Latin letters and, from eight words on, has English function words.

    Args:
        text: As written.
        words: Its words in lower case.
    """
    letters = sum(map(str.isalpha, text))
    if len(_FOREIGN.findall(text)) > 0.1 * letters:
        return False
    return len(words) < 8 or sum(map(is_function_word, words)) >= 0.1 * len(words)


def is_said(phrase: str, captions: Sequence[str]) -> bool:
    """True if every word of a phrase, function words aside, stands in one of the captions."""
    content_words = {word for word in _words(phrase) if not is_function_word(word)}
    return any(content_words <= _words(caption) for caption in captions)


@lru_cache(maxsize=1 << 12)
def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text))
