"""Detection as a user calls it: known boxes, orders, and input that is none."""

import json

import pytest
import torch
from PIL import Image

import foveal
from foveal.cli.main import main
from foveal.data.scenes import Scenes
from foveal.detection import Rescoring, as_results, as_table, draw
from foveal.detection.proposals import Proposals
from foveal.types import Detections

WIDE, HIGH = Image.new("RGB", (60, 20), "red"), Image.new("RGB", (20, 60), "blue")


class Halves:
    """Proposes the left and the right half."""

    def propose(self, pictures, names):
        return [Proposals(torch.tensor([[0.0, 0, 0.5, 1], [0.5, 0, 1, 1]]), torch.tensor([0.9, 0.4])) for _ in pictures]


def test_scores_are_the_geometric_mean_of_proposer_and_encoder(encoder):
    names = ["a dog", "a cat"]
    rescoring = Rescoring(scale=7.0)
    boxes = foveal.detect(encoder, [WIDE], names, proposals=Halves(), background=(), rescoring=rescoring)[0]
    regions = encoder.encode_regions([WIDE], [[(0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)]])[0]
    likely = (7 * regions @ encoder.encode_texts(names, "phrase").T).softmax(dim=1).max(dim=1)
    expected = (torch.tensor([0.9, 0.4]) * likely.values).sqrt()
    torch.testing.assert_close(boxes.score, expected)
    assert torch.equal(boxes.label, likely.indices)
    assert (boxes.width, boxes.height, boxes.names) == (60, 20, tuple(names))


def test_pictures_come_back_in_their_order_and_one_by_one_the_same(encoder):
    pictures = [WIDE, HIGH] * 10
    together = foveal.detect(encoder, pictures, ["a dog", "a cat"])
    alone = foveal.detect(encoder, [HIGH], ["a dog", "a cat"])[0]
    assert [(boxes.width, boxes.height) for boxes in together] == [(60, 20), (20, 60)] * 10
    torch.testing.assert_close(together[3].boxes, alone.boxes)
    torch.testing.assert_close(together[3].score, alone.score, rtol=1e-4, atol=1e-5)


def test_what_turns_a_photo_upright_turns_its_boxes(encoder):
    turned = HIGH.copy()
    turned.getexif()[0x0112] = 6
    assert foveal.detect(encoder, [turned], ["a dog"])[0].width == 60


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "nothing to look for"),
        ("a dog", "Give names as a list"),
        (["a dog", "A dog "], "'a dog' is given 2 times"),
        (["a dog", " "], "A name is empty"),
        ([f"name {number}" for number in range(5000)], "5,000 names are given, at most 4,000"),
    ],
)
def test_names_that_nothing_can_be_looked_for_by_are_refused(encoder, names, said, unchecked):
    with pytest.raises(ValueError, match=said):
        foveal.detect(encoder, [WIDE], names)


def test_a_picture_of_one_pixel_holds_no_boxes(encoder):
    with pytest.raises(ValueError, match=r"has 1 x 1 pixels\. Boxes need 8 a side"):
        foveal.detect(encoder, [Image.new("RGB", (1, 1))], ["a dog"])


@pytest.fixture
def detections():
    boxes = torch.tensor([[0.5, 0.0, 1.0, 0.5], [0.0, 0.0, 0.1, 0.1]])
    return Detections(boxes, torch.tensor([0.75, 0.5]), torch.tensor([1, 0]), ("a dog", "a cat"), 60, 20)


def test_results_are_those_of_coco_with_names_beside_them(detections, tmp_path):
    rows = json.loads(as_results([tmp_path / "000000000139.jpg"], [detections]))
    assert rows[0] == {
        "image_id": 139,
        "category_id": 2,
        "bbox": [30.0, 0.0, 30.0, 10.0],
        "score": 0.75,
        "file_name": "000000000139.jpg",
        "category": "a cat",
    }
    named = json.loads(as_results([tmp_path / "a.jpg", tmp_path / "b.jpg"], [detections, detections]))
    assert [row["image_id"] for row in named] == [1, 1, 2, 2]


def test_a_table_has_a_line_for_every_box(detections, tmp_path):
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), ("a",), 9, 9)
    table = as_table([tmp_path / "a.jpg", tmp_path / "b.jpg"], [detections, nothing])
    assert table.splitlines() == [
        "a.jpg  a cat  0.750  30 0 30 10",
        "a.jpg  a dog  0.500  0 0 6 2",
        "b.jpg  nothing above the threshold",
    ]


def test_boxes_are_drawn_where_they_are(detections):
    drawn = draw(Image.new("RGB", (240, 80)), detections)
    assert drawn.size == (240, 80)
    assert drawn.getpixel((120, 39)) == (10, 132, 255)
    assert drawn.getpixel((230, 70)) == (0, 0, 0)


def test_the_command_writes_table_json_and_pictures(encoder, tmp_path, capsys):
    encoder.save(tmp_path / "model")
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(2):
        photos.joinpath(f"{index}.png").write_bytes(Scenes(count=2, size=32).sample(index).image)
    out, drawn = tmp_path / "boxes.json", tmp_path / "drawn"
    words = ["detect", str(tmp_path / "model"), str(photos), "a red tile", "a dog", "--top", "3"]
    assert main([*words, "--out", str(out), "--draw", str(drawn)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("boxes=dense rule=class scale=the model's")
    rows = json.loads(out.read_text())
    assert {row["file_name"] for row in rows} == {"0.png", "1.png"}
    assert {row["category"] for row in rows} <= {"a red tile", "a dog"}
    assert sorted(path.name for path in drawn.iterdir()) == ["0.png", "1.png"]
    assert main([*words[:-2], "--draw", str(drawn / "0.png"), "missing.jpg"]) == 2
    assert "There is no photo missing.jpg" in capsys.readouterr().err
    assert main(["detect", str(tmp_path / "model"), "a dog"]) == 2
    assert "no photo among the words" in capsys.readouterr().err
    assert main(["detect", str(tmp_path / "model"), str(photos)]) == 2
    assert "nothing to look for" in capsys.readouterr().err
