import json
from collections import Counter

import pytest

from foveal.annotation.run.tally import Tally, median


def passed():
    """An entry of a sample that passed two stages."""
    negatives = [{"text": "a dish", "kind": "object"}, {"text": "a mug"}]
    region, bare = {"phrase": "a cup", "negatives": negatives}, {"phrase": "a table"}
    row = {"id": "a", "captions": ["a cup", "one more cup"], "long_caption": "a cup of tea", "regions": [region, bare]}
    return {"number": 0, "passed": [[0, 0, {}], [2, 2, {"too small": 1}]], "row": row}


DROPPED = {"dropped": "ground", "reason": "no phrase found", "remarks": {"too small": 2}, "passed": [[0, 0, {}]]}
FAILED = {"failed": "read", "reason": "picture: of 3 bytes", "remarks": {}, "passed": []}


@pytest.fixture
def tally():
    """Counts of two samples that passed, three that were dropped, one that failed."""
    tally = Tally(("ground",))
    for entry in (passed(), DROPPED, passed(), DROPPED, FAILED, DROPPED):
        tally.add(entry)
    return tally


def test_a_tally_counts_what_went_in_and_out_and_why(tally):
    assert (tally.samples, tally.written, tally.dropped, tally.failed) == (6, 2, 3, 1)
    read, ground = tally.stages["read"], tally.stages["ground"]
    assert (read.came, read.passed, read.failed, read.dropped) == (6, 5, {"picture": 1}, {})
    assert (ground.came, ground.passed, ground.failed, ground.dropped) == (5, 2, {}, {"no phrase found": 3})
    assert (ground.regions, ground.negatives, ground.remarks) == (4, 4, {"too small": 2 + 6})


def test_a_tally_counts_the_shape_of_what_came_through(tally):
    assert tally.caption_words == {2: 2, 3: 2}
    assert tally.long_caption_words == {4: 2}
    assert tally.regions == {2: 2}
    assert tally.negatives == {2: 2, 0: 2}
    assert tally.kinds == {"object": 2, "unknown": 2}


def test_a_sample_without_texts_and_regions_is_counted_as_such():
    tally = Tally(())
    tally.add({"number": 0, "passed": [[0, 0, {}]], "row": {"id": "a"}})
    assert (tally.written, tally.regions, tally.caption_words, tally.long_caption_words) == (1, {0: 1}, {}, {})


def test_all_counts_can_be_written_as_json(tally):
    counts = json.loads(json.dumps(tally.as_json()))
    assert (counts["samples"], counts["written"], counts["dropped"], counts["failed"]) == (6, 2, 3, 1)
    assert counts["stages"]["ground"]["dropped"] == {"no phrase found": 3}
    assert counts["negatives_per_phrase"] == {"0": 2, "2": 2}


@pytest.mark.parametrize(
    ("values", "middle"), [([], 0), ([5], 5), ([1, 2, 9], 2), ([1, 2, 8, 9], 2), ([3, 3, 3, 1], 3)]
)
def test_the_median_is_the_value_in_the_middle(values, middle):
    assert median(Counter(values)) == middle
