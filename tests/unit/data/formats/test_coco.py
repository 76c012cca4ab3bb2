import json

import pytest

from foveal.data.formats import Coco, Lvis, open_source
from foveal.types import Region, Sample


def write(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


IMAGES = [{"id": 139, "file_name": "000000000139.jpg", "width": 200, "height": 100}, {"id": 7, "file_name": "7.jpg"}]
BOX = {"id": 1, "image_id": 139, "category_id": 62, "bbox": [50, 25, 100, 75], "segmentation": [[1, 2]], "iscrowd": 0}
CHAIR = [{"id": 62, "name": "chair", "supercategory": "furniture"}]


def test_captions_and_boxes_of_two_files_come_together(tmp_path):
    (tmp_path / "val2017").mkdir()
    notes = [{"id": 2, "image_id": 139, "caption": text} for text in ("One.", "Two.")]
    write(tmp_path / "annotations" / "captions_val2017.json", images=IMAGES, annotations=notes)
    write(tmp_path / "annotations" / "instances_val2017.json", images=IMAGES, annotations=[BOX], categories=CHAIR)
    part = open_source(tmp_path / "annotations" / "{captions,instances}_val2017.json")
    image = tmp_path / "val2017" / "000000000139.jpg"
    regions = (Region((0.25, 0.25, 0.75, 1.0), "chair"),)
    assert list(part) == [
        Sample("139", image, ("One.", "Two."), regions=regions),
        Sample("7", tmp_path / "val2017" / "7.jpg"),
    ]


def test_crowds_are_passed_over_unless_asked_for(tmp_path):
    path = write(tmp_path / "a.json", images=IMAGES, annotations=[BOX | {"iscrowd": 1}], categories=CHAIR)
    assert Coco(path).sample(0).regions == ()
    assert len(Coco(path, crowd=True).sample(0).regions) == 1


def test_lvis_finds_its_files_and_reads_its_names(tmp_path):
    url = "http://images.cocodataset.org/train2017/000000000139.jpg"
    image = {"id": 139, "coco_url": url, "width": 200, "height": 100, "neg_category_ids": []}
    names = [{"id": 62, "name": "armchair_(red)"}]
    path = write(tmp_path / "lvis_v1_val.json", images=[image], annotations=[BOX], categories=names)
    (sample,) = open_source(f"{path}::{tmp_path}")
    assert sample.image == tmp_path / "000000000139.jpg"
    assert sample.regions[0].phrase == "armchair (red)"
    (tmp_path / "train2017").mkdir()
    assert Lvis(path, tmp_path).sample(0).image == tmp_path / "train2017" / "000000000139.jpg"


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (BOX | {"category_id": 1}, "image 139: not a sample"),
        (BOX | {"bbox": [50, 25, 0, 75]}, "image 139: .*no area"),
        (BOX | {"bbox": [50, 25, 500, 75]}, "image 139: .*outside"),
        (BOX | {"bbox": [50, 25]}, "image 139"),
        (BOX | {"bbox": None}, "image 139"),
        (BOX | {"image_id": 7}, "image 7: .*width"),
        ({"image_id": 139, "caption": 3}, "image 139: .*caption"),
        (BOX | {"image_id": 8}, "annotations of image 8"),
        ({"caption": "whose?"}, "not in COCO's layout.*image_id"),
    ],
)
def test_what_is_broken_is_named(tmp_path, note, message):
    path = write(tmp_path / "a.json", images=IMAGES, annotations=[note], categories=CHAIR)
    with pytest.raises(ValueError, match=rf"a\.json: {message}"):
        list(Coco(path))


def test_real_photos_go_through_the_official_layout(shared_data, tmp_path):
    """Real boxes, whose fractions are no round numbers, come back to within a rounding."""
    content = json.loads((shared_data / "coco" / "annotations.json").read_text())
    images = [
        {"id": one["id"], "file_name": f"{one['id']:012d}.jpg", "width": one["width"], "height": one["height"]}
        for one in content["images"]
    ]
    names = {name: int(number) for number, name in content["categories"].items()}
    notes = [
        {"image_id": one["id"], "category_id": names.get(box["cat"], box["cat"]), "bbox": box["bbox"]}
        for one in content["images"]
        for box in one.get("boxes", [])
    ]
    categories = [{"id": number, "name": name} for name, number in names.items()]
    path = write(tmp_path / "a.json", images=images, annotations=notes, categories=categories)
    part = Coco(path, shared_data / "coco" / "images")
    samples = list(part)
    assert len(samples) == 135
    assert all(sample.image.is_file() for sample in samples)
    assert sum(len(sample.regions) for sample in samples) == 832
    Coco(tmp_path / "b.json", part.images).write(samples)
    again = Coco(tmp_path / "b.json", part.images)
    for before, after in zip(samples, again, strict=True):
        assert (before.id, before.image) == (after.id, after.image)
        assert [one.phrase for one in before.regions] == [one.phrase for one in after.regions]
        for old, new in zip(before.regions, after.regions, strict=True):
            assert new.box == pytest.approx(old.box, abs=1e-12)
