import json

import pytest
from PIL import Image

from foveal.data.formats.boxes import Frame
from foveal.evaluation.sources import CocoBoxes, CocoCaptions, FgOvd, SugarCrepe


def test_pixel_boxes_become_fractions_and_stay_inside():
    assert Frame(100, 200).box([10, 20, 30, 40], least=0.0) == (0.1, 0.1, 0.4, 0.3)
    assert Frame(100, 100).box([-5, 0, 300, 50], least=0.0) == (0, 0, 1, 0.5)
    assert Frame(100, 100).box([20, 30, 0, 50], least=0.0) == (0.2, 0.3, 0.2, 0.8)


FILES = {
    "hard": ("h_attributes_llava.jsonl", 3545, 0),
    "medium": ("m_attributes_llava.jsonl", 2968, 4),
    "easy": ("e_attributes_llava.jsonl", 1299, 0),
    "trivial": ("shuffle_negatives_llava.jsonl", 3545, 0),
}


@pytest.fixture(scope="module")
def fg_ovd(shared_data):
    """All four files, read once."""
    pictures = shared_data / "coco/images"
    return {name: list(FgOvd(shared_data / "fg_ovd" / file, pictures)) for name, (file, _, _) in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_fg_ovd_has_the_published_numbers(fg_ovd, name):
    _, count, twins = FILES[name]
    regions = [region for sample in fg_ovd[name] for region in sample.regions]
    assert len(regions) == count
    assert sum(region.phrase in {miss.text for miss in region.negatives} for region in regions) == twins
    assert {len(region.negatives) for region in regions} <= set(range(2, 11))
    assert len({sample.image for sample in fg_ovd[name]}) == len(fg_ovd[name])
    assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in (r.box for r in regions))


def test_parity_fg_ovd_agrees_with_the_copy_in_the_photos_annotations(shared_data, fg_ovd):
    annotations = json.loads((shared_data / "coco/annotations.json").read_text())["images"]
    found = {
        (region.phrase, tuple(round(end, 4) for end in region.box))
        for samples in fg_ovd.values()
        for sample in samples
        if sample.image.is_file()
        for region in sample.regions
    }
    assert sum(len(image["fgovd"]) for image in annotations) == 96
    for image in annotations:
        for row in image["fgovd"]:
            box = Frame(image["width"], image["height"]).box(row["bbox"], least=0.0)
            assert (row["pos"][0], tuple(round(end, 4) for end in box)) in found


def test_sugar_crepe_has_the_published_numbers(shared_data):
    samples = list(SugarCrepe(shared_data / "sugar_crepe", shared_data / "coco/images"))
    assert len(samples) == 7511
    kinds = {sample.caption_negatives[0].kind for sample in samples}
    assert kinds == {"add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj"}
    assert sum(sample.image.is_file() for sample in samples) == 205
    assert len({sample.id for sample in samples}) == 7511


def test_coco_captions_are_five_per_photo(shared_data):
    samples = list(CocoCaptions(shared_data / "captions/coco_captions_val2017.json", shared_data / "coco/images"))
    assert len(samples) == 5000
    assert {len(sample.captions) for sample in samples} == {5}


def test_coco_boxes_have_80_classes(shared_data):
    source = CocoBoxes(shared_data / "coco/annotations.json", shared_data / "coco/images")
    samples = list(source)
    assert len(source.classes) == 80
    assert sum(len(sample.regions) for sample in samples) == 832
    assert len(samples) == 126


def test_both_layouts_of_boxes_give_the_same_samples(tmp_path):
    categories = {"1": "traffic_light"}
    images = [{"id": 7, "width": 10, "height": 20}]
    inside = {"categories": categories, "images": [images[0] | {"boxes": [{"bbox": [1, 2, 3, 4], "cat": 1}]}]}
    beside = {
        "categories": [{"id": 1, "name": "traffic_light"}],
        "images": [images[0] | {"file_name": "000000000007.jpg"}],
        "annotations": [{"image_id": 7, "bbox": [1, 2, 3, 4], "category_id": 1}],
    }
    found = []
    for name, content in (("inside", inside), ("beside", beside)):
        (tmp_path / name).write_text(json.dumps(content))
        source = CocoBoxes(tmp_path / name, tmp_path)
        assert source.classes == ("traffic light",)
        found.append(list(source))
    assert found[0] == found[1]
    assert found[0][0].regions[0].box == pytest.approx((0.1, 0.1, 0.4, 0.3))
    assert found[0][0].image == tmp_path / "000000000007.jpg"


def test_a_bad_line_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"img_path": "a.jpg"}\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl:1: not a region"):
        list(FgOvd(path, tmp_path))


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text('{"0": {"filename": "a.jpg"}}')
    with pytest.raises(ValueError, match=r"bad\.json: entry 0 is no pair"):
        list(SugarCrepe(tmp_path, tmp_path))
    for source in (CocoCaptions(path, tmp_path), CocoBoxes(path, tmp_path)):
        with pytest.raises(ValueError, match=r"bad\.json: not in COCO's layout"):
            list(source)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"bad\.json: not JSON"):
        list(SugarCrepe(tmp_path, tmp_path))


def test_an_empty_folder_is_no_sugar_crepe(tmp_path):
    with pytest.raises(ValueError, match="holds no JSON file"):
        list(SugarCrepe(tmp_path, tmp_path))


def test_fg_ovd_follows_photos_that_exif_turns(tmp_path, caplog):
    box = {"bbox": [10, 10, 80, 80], "pos_expression": ["red"], "neg_expression": []}
    lines = []
    for turn, width, height in ((6, 400, 200), (8, 200, 400), (3, 400, 200)):
        exif = Image.Exif()
        exif[0x112] = turn
        Image.new("RGB", (400, 200)).save(tmp_path / f"{turn}.jpg", exif=exif)
        lines.append(json.dumps(box | {"img_path": f"val/{turn}.jpg", "width": width, "height": height}))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    turned, upright, unknown = FgOvd(tmp_path / "a.jsonl", tmp_path)
    assert turned.regions[0].box == pytest.approx((0.55, 0.025, 0.95, 0.225))
    assert upright.regions[0].box == pytest.approx((0.05, 0.025, 0.45, 0.225))
    assert unknown.regions == ()
    assert "a.jsonl:3: left out: the photo is turned (EXIF 3)" in caplog.text


def test_coco_boxes_names_what_it_leaves_out(tmp_path, caplog):
    notes = [{"image_id": 7, "bbox": box, "category_id": 1} for box in ([1, 2, 3, 4], [1, 2], [1, 2, 0, 4])]
    content = {"images": [{"id": 7, "width": 10, "height": 20}], "annotations": notes, "categories": {"1": "cup"}}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (sample,) = CocoBoxes(tmp_path / "a.json", tmp_path)
    assert len(sample.regions) == 2  # one without area stays, to be counted as not found
    assert "image 7: left out: box that is not four numbers" in caplog.text
