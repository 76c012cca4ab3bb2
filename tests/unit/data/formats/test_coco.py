import json

import pytest
from PIL import Image

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
    ("odd", "note"),
    [
        (BOX | {"category_id": 1}, "box of no known category: 1"),
        (BOX | {"category_id": [1]}, "box of no known category: [1]"),
        ({"image_id": 139, "bbox": [1, 1, 5, 5]}, "box of no known category: None"),
        (BOX | {"bbox": [50, 25, 0, 75]}, "box without area: [50, 25, 0, 75]"),
        (BOX | {"bbox": [50, 25, 500, 75]}, "box outside the image: [50, 25, 500, 75]"),
        (BOX | {"bbox": [50, 25]}, "box that is not four numbers (x, y, width, height): [50, 25]"),
        (BOX | {"bbox": None}, "box that is not four numbers (x, y, width, height): None"),
        ({"image_id": 139, "caption": 3}, "no text in 'caption': 3"),
        ({"image_id": 139, "caption": None}, "no text in 'caption': None"),
    ],
)
def test_one_odd_annotation_costs_itself_alone_and_is_named(tmp_path, odd, note):
    """COCO's own train2017 has boxes of height 0; each cost the whole photo."""
    caption = {"image_id": 139, "caption": "A chair."}
    path = write(tmp_path / "a.json", images=IMAGES, annotations=[odd, BOX, caption], categories=CHAIR)
    sample = Coco(path).sample(0)
    assert sample.captions == ("A chair.",)
    assert [region.phrase for region in sample.regions] == ["chair"]
    assert sample.notes == (note,)


def test_boxes_over_the_edge_are_cut(tmp_path):
    path = write(tmp_path / "a.json", images=IMAGES, annotations=[BOX | {"bbox": [-20, 10, 60, 50]}], categories=CHAIR)
    assert Coco(path).sample(0).regions[0].box == pytest.approx((0, 0.1, 0.2, 0.6))


def test_annotations_of_no_image_are_counted_and_cost_nothing(tmp_path, caplog):
    stray = [BOX | {"image_id": 8}, BOX | {"image_id": 8}, {"caption": "whose?"}, 3]
    path = write(tmp_path / "a.json", images=IMAGES, annotations=[*stray, BOX], categories=[*CHAIR, {"id": 3}])
    part = Coco(path)
    assert [len(sample.regions) for sample in part] == [1, 0]
    assert part.passed_over == {
        "annotations of images that are not in the list": 2,
        "annotations of no image": 2,
        "categories without a number or a name": 1,
    }
    assert "a.json: passed over: 2 annotations of images that are not in the list." in caplog.text


def test_a_broken_entry_of_an_image_costs_itself_alone(tmp_path):
    images = [3, {"id": 5}, {"id": None}, *IMAGES, {"id": 7, "file_name": "other.jpg"}, {"id": 9, "file_name": "7.jpg"}]
    path = write(tmp_path / "a.json", images=images, annotations=[BOX | {"image_id": 139}], categories=CHAIR)
    part = Coco(path)
    assert (len(part), part.rows) == (6, 7)  # two entries name 7.jpg
    assert [part.sample(index).image.name for index in (1, 3, 4)] == ["000000000005.jpg", "000000000139.jpg", "7.jpg"]
    for index, message in ((0, "image 0: .*3 is no object"), (2, "no 'file_name'"), (5, "its id is that of '7.jpg'")):
        with pytest.raises(ValueError, match=rf"a\.json: .*{message}"):
            part.sample(index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [', "not JSON"),
        (b"[1]", r"not in COCO's layout: \[1\] is no object"),
        (b'{"x": 1}', "not in COCO's layout: there is neither 'images' nor 'annotations', but x"),
        (b'{"images": {}}', "not in COCO's layout: 'images' must be a list"),
    ],
)
def test_a_file_that_is_not_coco_is_named_in_one_line(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json: {message}[^\n]*$"):
        len(Coco(tmp_path / "a.json"))


def test_sizes_that_are_missing_are_read_from_the_photo(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "7.jpg")
    path = write(tmp_path / "a.json", images=IMAGES[1:], annotations=[BOX | {"image_id": 7}], categories=CHAIR)
    assert Coco(path).sample(0).regions == (Region((0.25, 0.25, 0.75, 1.0), "chair"),)
    (tmp_path / "7.jpg").unlink()
    assert Coco(path).sample(0).regions == ()
    assert Coco(path).sample(0).notes[0].startswith("box in an unknown frame: [50, 25, 100, 75], no width and height")


@pytest.mark.parametrize("kind", [Coco, Lvis])
def test_boxes_follow_the_frame_they_were_drawn_in(tmp_path, kind):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (200, 100)).save(tmp_path / "000000000139.jpg", exif=exif)
    boxes = []
    for size in ({"width": 200, "height": 100}, {"width": 100, "height": 200}, {"width": 150, "height": 150}):
        images = [IMAGES[0] | size]
        path = write(tmp_path / "a.json", images=images, annotations=[BOX], categories=CHAIR)
        boxes.append(next(iter(kind(path))))
    assert boxes[0].regions[0].box == pytest.approx((0, 0.25, 0.75, 0.75))
    assert boxes[1].regions[0].box == pytest.approx((0.5, 0.125, 1.0, 0.5))
    assert boxes[2].regions == ()
    assert boxes[2].notes[0].startswith("box in an unknown frame: ")


def test_captions_within_the_entries_of_images_are_read(tmp_path):
    """Karpathy's splits have them."""
    image = {"filepath": "val2014", "filename": "1.jpg", "imgid": 4, "sentences": [{"raw": "One."}, {"raw": "Two."}]}
    path = write(tmp_path / "dataset_coco.json", images=[image], dataset="coco")
    assert list(open_source(path)) == [Sample("4", tmp_path / "val2014" / "1.jpg", ("One.", "Two."))]


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


@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_of_turned_photos_come_back_or_are_refused(tmp_path, turn):
    exif = Image.Exif()
    exif[0x112] = turn
    Image.new("RGB", (200, 100)).save(tmp_path / "1.jpg", exif=exif)
    sample = Sample("1", tmp_path / "1.jpg", regions=(Region((0.125, 0.25, 0.5, 1.0), "cup"),))
    if turn in (2, 3, 4):
        with pytest.raises(ValueError, match=rf"boxes of sample '1': .*EXIF {turn}"):
            Coco(tmp_path / "a.json").write([sample])
    else:
        Coco(tmp_path / "a.json").write([sample])
        assert list(Coco(tmp_path / "a.json")) == [sample]
