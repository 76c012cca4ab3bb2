"""A short look at the data before the first step, for what a training would learn little or wrong from."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.excerpt import excerpt, fewer_than, picture_key
from ..data.stream import Source, Stream
from ..types import Sample
from .feed import Feed
from .run import Run

SAMPLES = 128
SECONDS = 5.0
"""After which no more samples of a source are looked at."""
SHARED = 0.1
"""Share of samples with a caption, or a picture, that others have too, from which on it is said."""


@dataclass(frozen=True)
class Excerpt:
    """Samples of one source as a run reads them, its edits done.

    Attributes:
        spec: The source as the run names it.
        samples: Those that are not broken.
    """

    spec: str
    samples: tuple[Sample, ...]


def remarks(run: Run[Any], stream: object) -> Iterator[str]:
    """Yield one line for everything about a run's data that its user should know before the first step.

    Args:
        run: Whose data is a `Feed`; of other data nothing is said.
        stream: Its stream on this rank. It is not moved.
    """
    feed = run.data
    if not isinstance(feed, Feed) or not isinstance(stream, Stream):
        return
    excerpts = [_read(feed, spec, excerpt(source, SAMPLES, SECONDS)) for spec, source in _named(feed, stream)]
    for part in filter(lambda part: part.samples, excerpts):
        yield from _texts(part, feed)
        yield from _pictures(part)
    yield from _sizes(run, feed, stream)
    yield from _absent([sample for part in excerpts for sample in part.samples], feed)


def _read(feed: Feed, spec: str, samples: Sequence[Sample | None]) -> Excerpt:
    rng = np.random.default_rng(0)
    edited = (None if sample is None else _edited(sample, feed, rng) for sample in samples)
    return Excerpt(spec, tuple(sample for sample in edited if sample is not None))


def _edited(sample: Sample, feed: Feed, rng: np.random.Generator) -> Sample | None:
    try:
        for edit in feed.edits:
            sample = edit(sample, rng)
    except (ValueError, OSError):
        return None  # the stream counts it as broken
    return sample


def _named(feed: Feed, stream: Stream[object, object]) -> Iterator[tuple[str, Source]]:
    return zip(feed.sources, stream.sources, strict=True)


def _texts(part: Excerpt, feed: Feed) -> Iterator[str]:
    """Yield remarks on the captions of a source."""
    if feed.captions:
        firsts = [next((text for text in sample.captions if text.strip()), "") for sample in part.samples]
        yield from _of_kind(part, "caption", firsts, "--set data.captions=false")
    if feed.long_captions:
        longs = [sample.long_caption for sample in part.samples]
        yield from _of_kind(part, "long caption", longs, "--set data.long_captions=false")


def _of_kind(part: Excerpt, name: str, texts: Sequence[str], change: str) -> Iterator[str]:
    plain = [" ".join(text.lower().split()) for text in texts]
    empty = plain.count("")
    if empty:
        share = min(1, math.ceil(100 * empty / len(texts) + 5) / 100)  # with room: others may have fewer
        way = f"pass over them: --set data.broken_budget={share:g}"
        if empty == len(texts):
            way = f"train without {name}s, where the recipe can: {change}"
        yield (
            f"{part.spec!r}: {empty} of {len(texts)} samples looked at have no {name}, or an empty one, and count as"
            f" broken. Add what is missing, or {way}."
        )
    yield from _shared(part, name, [text for text in plain if text])


def _pictures(part: Excerpt) -> Iterator[str]:
    yield from _shared(part, "picture", [key for sample in part.samples if (key := picture_key(sample.image))])


def _shared(part: Excerpt, name: str, values: Sequence[str]) -> Iterator[str]:
    """Yield a remark if many samples have what another one has too."""
    shared = sum(count for count in Counter(values).values() if count > 1)
    if shared > SHARED * len(values):
        yield (
            f"{part.spec!r}: {shared} of {len(values)} samples looked at have a {name} that another one has too."
            " In one batch they are negatives of each other."
        )


def _sizes(run: Run[Any], feed: Feed, stream: Stream[object, object]) -> Iterator[str]:
    """Yield a remark if a batch takes more of a source than it has."""
    for (spec, source), weight in zip(_named(feed, stream), stream.weights, strict=True):
        share = run.batch_size * weight / sum(stream.weights)
        count = fewer_than(share, source)
        if count is not None:
            fitting = max(1, int(count * sum(stream.weights) / weight))
            yield (
                f"{spec!r} has {count} samples, fewer than the {share:.0f} of each batch that come from it: pictures"
                f" are their own negatives. Add samples, or take a smaller batch: --set batch_size={fitting}."
            )


def _absent(samples: Sequence[Sample], feed: Feed) -> Iterator[str]:
    """Yield a remark on each kind of text that is asked for and that no source has."""
    regions = any(sample.regions for sample in samples)
    negatives = any(region.negatives for sample in samples for region in sample.regions)
    caption_negatives = any(sample.caption_negatives for sample in samples)
    absent = []
    if feed.regions and not regions:
        absent.append(("regions", "data.regions=0 --set data.negatives=0"))
    elif feed.negatives and not negatives:
        absent.append(("hard negatives of regions", "data.negatives=0"))
    if feed.caption_negatives and not caption_negatives:
        absent.append(("hard negatives of captions", "data.caption_negatives=0"))
    for name, change in absent if samples else ():
        yield (
            f"None of the {len(samples)} samples looked at has {name}, so the terms of the objective that need them"
            f" learn nothing. Add a source that has, or leave them out: --set {change}."
        )
