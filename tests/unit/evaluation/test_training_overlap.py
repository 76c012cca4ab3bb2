"""Copies of a protocol's images and texts in training data, counted by fingerprints that are known."""

import json

import pytest
from PIL import Image

from foveal.evaluation import evaluate
from foveal.evaluation.report import Provenance
from foveal.evaluation.training_overlap import Fingerprints, Overlap, with_training

NAME = "urban1k@1000"


class Near(dict):
    """Numbers among which those at most one apart are copies."""

    def add(self, value, name):
        self[value] = name

    def find(self, value):
        return next((self[near] for near in (value, value - 1, value + 1) if near in self), None)


def red(image):
    """The red of the first pixel. None for a black image."""
    with Image.open(image) as picture:
        return picture.convert("RGB").getpixel((0, 0))[0] or None


def words(text):
    return map(hash, text.split())


BY = Fingerprints(red, words, Near)


@pytest.fixture
def report(encoder, tmp_path):
    """Of four images of reds 0, 60, 120 and 180, whose texts are one word each."""
    for number in range(4):
        for part in ("caption", "image"):
            (tmp_path / "urban1k" / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / f"urban1k/caption/{number}.txt").write_text(f"city{number}\n")
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(tmp_path / f"urban1k/image/{number}.png")
    return evaluate(encoder(), [NAME], tmp_path)


@pytest.fixture
def training(tmp_path):
    """Writes training rows: reds of images, None for one that is missing, and captions."""

    def write(*rows):
        lines = []
        for number, (color, *captions) in enumerate(rows):
            if color is not None:
                Image.new("RGB", (8, 8), (color, 0, 0)).save(tmp_path / f"{number}.png")
            lines.append(json.dumps({"id": str(number), "image": f"{number}.png", "captions": captions}))
        (tmp_path / "training.jsonl").write_text("\n".join(lines) + "\n")
        return str(tmp_path / "training.jsonl")

    return write


def contamination(report, tmp_path, training):
    return with_training(report, [tmp_path], training, BY).protocols[NAME].contamination


def test_copies_and_near_copies_are_counted_once_each(report, training, tmp_path):
    source = training((60, "far"), (61, "far off"), (121, "near city2"), (150, "city2 again and city3"))
    known = contamination(report, tmp_path, source)
    assert known["found"] == {"images": 2, "texts": 2}
    assert known["compared"] == {"images": 3, "texts": 4}  # a black image resembles all others
    assert (known["checked"], known["training"]) == (True, source)


def test_a_training_image_that_is_missing_or_black_leaves_its_texts(report, training, tmp_path):
    assert contamination(report, tmp_path, training((None, "city0"), (0, "city1")))["found"] == {
        "images": 0,
        "texts": 2,
    }


def test_training_data_without_copies_clear_the_model(report, training, tmp_path):
    known = contamination(report, tmp_path, training((30, "elsewhere")))
    assert (known["found"], known["checked"]) == ({"images": 0, "texts": 0}, True)


def test_what_was_unknown_is_known_now_and_other_flags_stay(report, training, tmp_path):
    provenance = report.protocols[NAME]
    provenance.contamination["flags"] = ["unknown: no card", "coco-train2017"]
    assert contamination(report, tmp_path, training((30, "elsewhere")))["flags"] == ["coco-train2017"]


def test_phrases_of_regions_are_texts_too(report, tmp_path):
    Image.new("RGB", (8, 8), (30, 0, 0)).save(tmp_path / "boxed.png")
    row = {"id": "x", "image": "boxed.png", "captions": ["a"], "regions": [{"box": [0, 0, 1, 1], "phrase": "city1"}]}
    (tmp_path / "boxed.jsonl").write_text(json.dumps(row) + "\n")
    assert contamination(report, tmp_path, str(tmp_path / "boxed.jsonl"))["found"] == {"images": 0, "texts": 1}


def test_data_of_ones_own_are_left_as_they_are(report, training, tmp_path):
    mine = Provenance("ab" * 32, "own", 4, 4, 4, "as downloaded")
    report.protocols["own@abababab"] = mine
    checked = with_training(report, [tmp_path], training((60, "city1")), BY)
    assert checked.protocols["own@abababab"] is mine
    assert checked.protocols[NAME].contamination["checked"]
    assert checked.results == report.results


def test_an_image_is_one_copy_however_often_it_is_trained_on():
    overlap = Overlap(BY, Near({10: "a", 50: "b"}), {hash("x"): "x y"})
    for value in (9, 10, 11, 30, None):
        overlap.look(value, ["x", "x z"])
    assert (overlap.found_images, overlap.found_texts) == ({"a"}, {"x y"})
