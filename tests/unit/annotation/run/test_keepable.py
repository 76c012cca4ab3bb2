from dataclasses import replace

import numpy as np
import pytest

from foveal.annotation.run.keepable import keepable
from foveal.types import Negative, Region, Sample

REGION = Region((0.1, 0.2, 0.5, 0.75), "a cup", (Negative("a dish", "object"),))
SAMPLE = Sample("a", b"", ("One.",), "Two.", (REGION,), (Negative("Three."),), (Negative("Four.", "color"),))


def test_a_plain_sample_is_as_it_was():
    assert keepable(SAMPLE) == SAMPLE
    assert keepable(SAMPLE).regions[0] is REGION


@pytest.mark.parametrize("box", [(0, 0, 1, 1), tuple(np.float32([0.25, 0.5, 0.5, 1.0]))])
def test_a_box_of_other_numbers_becomes_one_of_floats(box, unchecked):
    (region,) = keepable(replace(SAMPLE, regions=(replace(REGION, box=box),))).regions
    assert region == replace(REGION, box=box)
    assert {type(edge) for edge in region.box} == {float}


@pytest.mark.parametrize("box", [(0.5, 0.0, 0.5, 1.0), (0.0, 0.0, float("nan"), 1.0), ("a", 0.0, 1.0, 1.0)])
def test_a_box_that_is_none_is_refused(box, unchecked):
    with pytest.raises(ValueError, match="box"):
        keepable(replace(SAMPLE, regions=(replace(REGION, box=box),)))


def with_text(text):
    """One sample for each place of a text."""
    negative = (Negative(text),)
    return {
        "id": replace(SAMPLE, id=text),
        "caption": replace(SAMPLE, captions=("One.", text)),
        "long caption": replace(SAMPLE, long_caption=text),
        "caption negative": replace(SAMPLE, caption_negatives=negative),
        "long caption negative": replace(SAMPLE, long_caption_negatives=negative),
        "kind": replace(SAMPLE, caption_negatives=(Negative("x", text),)),
        "phrase": replace(SAMPLE, regions=(replace(REGION, phrase=text),)),
        "negative": replace(SAMPLE, regions=(replace(REGION, negatives=negative),)),
    }


@pytest.mark.parametrize("place", with_text(""))
def test_a_text_that_no_file_can_hold_is_refused_wherever_it_stands(place):
    with pytest.raises(ValueError, match=r"^'half \\ud800': it holds half of a surrogate pair"):
        keepable(with_text("half \ud800")[place])


@pytest.mark.parametrize("place", with_text(""))
def test_what_is_no_text_is_refused_wherever_it_stands(place, unchecked):
    with pytest.raises(ValueError, match=r"^7 is no text$"):
        keepable(with_text(7)[place])
