import json

import pytest

from foveal.data.formats import FineHard
from foveal.types import Negative, Region, Sample

NEAR = {"0": "a blue cup", "1": "a green cup"}
BOX = {
    "bbox": [0.0, 0.25, 0.5, 1.0, 0.87],
    "short_expr": "a red cup",
    "long_expr": "a red cup on a table",
    "flag_short_neg": 1,
    "short_expr_negs": NEAR,
}
ITEM = {"f_path": "grit-20m/data-12m/f1/2.jpg", "caption": "Long.", "short_caption": "Short.", "bbox_info": [BOX]}


def write(path, *items):
    path.write_text(json.dumps(items))
    return FineHard(path)


def test_the_layout_of_the_paper_is_read(tmp_path):
    part = write(tmp_path / "a.json", ITEM)
    region = Region((0.0, 0.25, 0.5, 1.0), "a red cup", (Negative("a blue cup"), Negative("a green cup")))
    image = tmp_path / "f1" / "2.jpg"
    assert list(part) == [Sample(ITEM["f_path"], image, ("Short.",), "Long.", (region,))]


def test_negatives_count_where_the_flag_says_so(tmp_path):
    part = write(tmp_path / "a.json", ITEM | {"bbox_info": [BOX | {"flag_short_neg": 0}]})
    assert next(iter(part)).regions[0].negatives == ()


def test_the_long_phrase_comes_without_the_short_ones_negatives(tmp_path):
    write(tmp_path / "a.json", ITEM)
    (sample,) = FineHard(tmp_path / "a.json", phrase="long_expr")
    assert sample.regions == (Region((0.0, 0.25, 0.5, 1.0), "a red cup on a table"),)


def test_every_file_of_a_folder_is_a_shard(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.json", ITEM, ITEM)
    assert [len(list(shard)) for shard in FineHard(tmp_path).shards()] == [2, 2]
    assert len(list(FineHard(tmp_path))) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"f_path": None}, "no 'f_path'|'f_path' must"),
        ({"f_path": ""}, "empty"),
        ({"f_path": 3}, "'f_path' must be a text"),
    ],
)
def test_a_broken_item_is_named_and_the_others_still_read(tmp_path, change, message):
    records = list(write(tmp_path / "a.json", ITEM | change, ITEM).records())
    with pytest.raises(ValueError, match=rf"a\.json: item 0: not a sample: .*({message})"):
        records[0]()
    assert records[1]().long_caption == "Long."


@pytest.mark.parametrize(
    ("box", "note"),
    [
        (3, "region that is no object: 3"),
        (BOX | {"bbox": [0, 0, 50, 50]}, "box outside the image: [0, 0, 50, 50]; fractions"),
        (BOX | {"bbox": None}, "box that is not four numbers"),
        ({"bbox": BOX["bbox"]}, "region without a phrase: None"),
        (BOX | {"short_expr": " "}, "region without a phrase: ' '"),
    ],
)
def test_an_odd_box_costs_itself_alone(tmp_path, box, note):
    (sample,) = write(tmp_path / "a.json", ITEM | {"bbox_info": [box, BOX]})
    assert [region.phrase for region in sample.regions] == ["a red cup"]
    assert len(sample.notes) == 1
    assert sample.notes[0].startswith(note)


def test_an_odd_near_miss_costs_itself_alone(tmp_path):
    (sample,) = write(tmp_path / "a.json", ITEM | {"bbox_info": [BOX | {"short_expr_negs": {"0": 1, "1": "a cup"}}]})
    assert sample.regions[0].negatives == (Negative("a cup"),)
    assert sample.notes == ("no text in 'negatives': 1",)
