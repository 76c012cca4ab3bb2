"""What of a protocol stands in training data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..data.formats.source import open_source
from ..types import Sample
from .pinned.reading import Images, Roots, read
from .pinned.registry import find
from .pinned.tasks import measured
from .report import Report


@runtime_checkable
class ImageHashes(Protocol):
    """Hashes among which near ones are found."""

    def add(self, value: int, name: str) -> None:
        """Keep a hash under a name."""

    def find(self, value: int) -> str | None:
        """Return the name of the nearest hash. None if none is near."""

    def __len__(self) -> int:
        """Return how many there are."""


@dataclass(frozen=True)
class Fingerprints:
    """How copies of images and texts are recognized; the data engine brings its own.

    Attributes:
        image: Hash of an image. None for one that resembles all others.
        texts: Hashes of the parts of a text.
        hashes: Makes an empty set of hashes of images.
    """

    image: Callable[[Path | bytes], int | None]
    texts: Callable[[str], Iterable[int]]
    hashes: Callable[[], ImageHashes]


@dataclass
class Overlap:
    """Fingerprints of a protocol, and those that training data share.

    Attributes:
        by: How copies are recognized.
        images: Hashes of its images that are here.
        texts: Of each text's parts, the text.
        found_images: Images that are in the training data, or nearly so.
        found_texts: Texts of which a part of 13 words, or the whole, is in the training data.
    """

    by: Fingerprints
    images: ImageHashes
    texts: dict[int, str] = field(default_factory=dict)
    found_images: set[str] = field(default_factory=set)
    found_texts: set[str] = field(default_factory=set)

    def look(self, value: int | None, texts: Iterable[str]) -> None:
        """Compare a training sample.

        Args:
            value: Hash of its image. None for an image of one color.
            texts: All that is said about it.
        """
        copy = None if value is None else self.images.find(value)
        if copy is not None:
            self.found_images.add(copy)
        for text in texts:
            self.found_texts.update(self.texts[gram] for gram in self.by.texts(text) if gram in self.texts)


def with_training(report: Report, folders: Sequence[Path], training: str, by: Fingerprints) -> Report:
    """Return a report whose protocols say how many of their images and texts stand in training data.

    Args:
        report: Of named protocols; others are left as they are.
        folders: The data folders.
        training: A source of samples, as `foveal train --data` takes it.
        by: How copies are recognized.
    """
    overlaps = {}
    for name, provenance in report.protocols.items():
        if provenance.verdict != "own":
            build = measured(find(name), read(find(name), Roots(tuple(folders))))
            overlaps[name] = _overlap(build.samples, build.data.images, by)
    for sample in open_source(training):
        present = isinstance(sample.image, bytes) or sample.image.is_file()
        value = by.image(sample.image) if present else None
        for overlap in overlaps.values():
            overlap.look(value, _texts(sample))
    protocols = {
        name: replace(
            report.protocols[name], contamination=_found(report.protocols[name].contamination, overlap, training)
        )
        for name, overlap in overlaps.items()
    }
    return replace(report, protocols={**report.protocols, **protocols})


def _overlap(samples: Sequence[Sample], images: Images, by: Fingerprints) -> Overlap:
    overlap = Overlap(by, by.hashes())
    for place in dict.fromkeys(sample.image for sample in samples):
        if isinstance(place, Path) and images.holds(place):
            value = by.image(images.load(place))
            if value is not None:
                overlap.images.add(value, str(place))
    for sample in samples:
        for text in _texts(sample):
            overlap.texts.update(dict.fromkeys(by.texts(text), text))
    return overlap


def _found(known: Mapping[str, object], overlap: Overlap, training: str) -> dict[str, object]:
    counts = {"images": len(overlap.found_images), "texts": len(overlap.found_texts)}
    compared = {"images": len(overlap.images), "texts": len(set(overlap.texts.values()))}
    flags = [flag for flag in known.get("flags", []) if not str(flag).startswith("unknown")]  # type: ignore[attr-defined]
    return {**known, "flags": flags, "checked": True, "training": training, "found": counts, "compared": compared}


def _texts(sample: Sample) -> Iterable[str]:
    yield from (*sample.captions, sample.long_caption)
    yield from (region.phrase for region in sample.regions)
