import json

import pytest

from foveal.data.formats import ShareGpt4v
from foveal.types import Sample

TURNS = [{"from": "human", "value": "What?\n<image>"}, {"from": "gpt", "value": "A long text."}]


def test_the_second_turn_is_the_long_caption(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"image": "coco/1.jpg", "conversations": TURNS}]))
    assert list(ShareGpt4v(path, tmp_path / "data")) == [
        Sample("coco/1.jpg", tmp_path / "data" / "coco" / "1.jpg", long_caption="A long text.")
    ]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"conversations": TURNS}, "no 'image'"),
        ({"image": "a", "conversations": TURNS[:1]}, "second turn"),
        ({"image": "a", "conversations": [1, 2]}, "not a sample"),
        (3, "not a sample"),
    ],
)
def test_a_broken_item_is_named(tmp_path, item, message):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"image": "b", "conversations": TURNS}, item]))
    with pytest.raises(ValueError, match=rf"a\.json: item 1: .*{message}"):
        list(ShareGpt4v(path))
