import numpy as np
import pytest

from foveal.recipes.debias_clip import EDITS, AnySentence, SampledSentences, debias_clip, demo
from foveal.types import Negative, Sample

SAMPLE = Sample("one", b"", ("old",), "A sum of it all. A cup. A cat. A dog.", caption_negatives=(Negative("new"),))


def test_the_summary_is_in_no_text():
    short, long, shifts = set(), set(), []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sample = SAMPLE
        for edit in EDITS:
            sample = edit(sample, rng)
        assert sample.caption_negatives == ()
        short |= set(sample.captions)
        (text,) = SampledSentences()(sample, rng)
        long.add(text.text)
        shifts.append(text.shift)
    assert short == {"A cup.", "A cat.", "A dog."}
    assert long == {"A cup. A cat.", "A cup. A dog.", "A cat. A dog.", "A cup. A cat. A dog."}
    assert min(shifts) < 0.05
    assert max(shifts) > 0.95


def test_what_has_no_long_caption_is_left_or_named():
    bare = Sample("two", b"", ("a cup",))
    assert AnySentence()(bare, np.random.default_rng(0)) is bare
    with pytest.raises(ValueError, match="Sample two has no long caption"):
        SampledSentences()(bare, np.random.default_rng(0))


def test_the_group_stands_for_the_runs_own_long_captions():
    for run in (debias_clip(), demo()):
        assert not run.data.long_captions
        assert [group.name for group in run.data.groups] == ["long_caption"]
        assert run.data.edits == EDITS
