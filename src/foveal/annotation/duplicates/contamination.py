"""Contamination: pictures and captions of benchmarks must not come into training data."""

import logging
from dataclasses import dataclass
from functools import cache

from ...data.numbered import numbered, open_input
from ...types import Sample
from .fingerprints import Hashes, picture_hash, text_hashes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fingerprints:
    """Hashes of all pictures and captions of one benchmark.

    Attributes:
        name: How the reasons name it.
        pictures: Hashes of its pictures.
        texts: Hashes of its captions.
    """

    name: str
    pictures: Hashes
    texts: frozenset[int]


@cache
def fingerprints(spec: str, radius: int = 6) -> Fingerprints:
    """Return the fingerprints of a benchmark, taken once a process.

    Args:
        spec: A folder of pictures or any source of ours; "name=..." gives it a name of its own.
        radius: Bits of 128 in which two pictures that count as the same may differ.

    Raises:
        ValueError: If nothing is there, or a picture that is there is broken.
    """
    name, _, path = spec.rpartition("=")
    hashes, texts, missing = Hashes(radius), set[int](), 0
    for _, record in numbered(open_input(path)):
        sample = record()
        if isinstance(sample.image, bytes) or sample.image.is_file():
            value = picture_hash(sample.image)
            if value is not None:
                hashes.add(value, sample.id)
        else:
            missing += 1
        for text in (*sample.captions, sample.long_caption):
            texts.update(text_hashes(text))
    if missing:
        log.warning("%s: %d pictures are not there; only their captions are compared.", spec, missing)
    return Fingerprints(name or path, hashes, frozenset(texts))


def contaminated(sample: Sample, benchmarks: tuple[str, ...], value: int | None, radius: int = 6) -> str:
    """Return why a sample must not be trained on. Empty if it may.

    Args:
        sample: What is judged.
        benchmarks: As `fingerprints` takes them.
        value: The hash of its picture.
        radius: As `fingerprints` takes it.
    """
    for spec in benchmarks:
        benchmark = fingerprints(spec, radius)
        if value is not None and benchmark.pictures.find(value) is not None:
            return f"picture of {benchmark.name}"
        texts = (*sample.captions, sample.long_caption)
        if any(value in benchmark.texts for text in texts for value in text_hashes(text)):
            return f"caption of {benchmark.name}"
    return ""
