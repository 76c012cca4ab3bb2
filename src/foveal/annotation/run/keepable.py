"""Check that a sample that a stage made can be written down and read again."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from ...data.formats.boxes import checked_box
from ...types import Region, Sample
from ..assistant.foreign_json import check_text


def keepable(sample: Sample) -> Sample:
    """Return a sample as a journal gives it back: boxes of plain numbers, all else as it is.

    Raises:
        ValueError: If a box is none, or a text is none or cannot be written as UTF-8. The message names it.
    """
    for text in _texts(sample):
        if not isinstance(text, str):
            raise ValueError(f"{text!r:.80} is no text")  # noqa: TRY004  # a sample that cannot be worked on
        try:
            check_text(text)
        except ValueError as error:
            raise ValueError(f"{text!a:.200}: {error}") from error
    return replace(sample, regions=tuple(map(_plain, sample.regions)))


def _texts(sample: Sample) -> Iterator[Any]:
    yield from (sample.id, *sample.captions, sample.long_caption)
    negatives = (
        sample.caption_negatives,
        sample.long_caption_negatives,
        *(region.negatives for region in sample.regions),
    )
    for negative in chain.from_iterable(negatives):
        yield from (negative.text, negative.kind)
    yield from (region.phrase for region in sample.regions)


def _plain(region: Region) -> Region:
    box = checked_box(region.box)
    return region if box == region.box and all(type(edge) is float for edge in region.box) else replace(region, box=box)
