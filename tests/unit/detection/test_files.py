"""Proposals in files: written and read back, and everything that such a file may have wrong."""

import json

import pytest
import torch
from PIL import Image

from foveal.detection.files import FromFile, GroundTruth, write_proposals
from foveal.detection.proposals import Proposals, no_proposals


def line(**changes) -> str:
    return json.dumps({"id": "a.jpg", "boxes": [[0, 0, 0.5, 1]], "scores": [0.5], **changes}) + "\n"


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "boxes.jsonl"
    proposals = Proposals(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), torch.tensor([0.25]))
    write_proposals(path, [("a.jpg", proposals), ("b.jpg", no_proposals())])
    first, second = FromFile(path).propose([tmp_path / "a.jpg", tmp_path / "b.jpg"], [["x"], ["x"]])
    torch.testing.assert_close(first.boxes, proposals.boxes)
    torch.testing.assert_close(first.score, proposals.score)
    assert len(second) == 0
    assert len(FromFile(path).hash) == 12


def test_boxes_of_other_pictures_are_refused_by_name(tmp_path):
    path = tmp_path / "boxes.jsonl"
    path.write_text(line())
    with pytest.raises(
        ValueError, match=r"boxes\.jsonl has no boxes of b\.jpg\. Give the file that was made for these"
    ):
        FromFile(path).propose([tmp_path / "b.jpg"], [["x"]])
    with pytest.raises(ValueError, match="Give files, not pictures already open"):
        FromFile(path).propose([Image.new("RGB", (9, 9))], [["x"]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1: no proposals"),
        (line(boxes=[[0, 0, 1.2, 1]]), r"box \[0, 0, 1\.2, 1\] is none within the picture"),
        (line(boxes=[[10, 10, 50, 60]]), "is none within the picture, in fractions of it"),
        (line(boxes=[[0.5, 0, 0.5, 1]]), "is none within the picture"),
        (line(scores=[]), "1 boxes and 0 scores"),
        (line(scores=[2]), "no number from 0 to 1"),
        (line(scores=["x"]), "no number from 0 to 1"),
        (line(boxes=[[1, 2, 3]]), "line 1"),
        ('{"id": "a.jpg"}\n', "line 1: no proposals .*boxes"),
    ],
)
def test_a_line_that_is_no_proposals_is_named(tmp_path, text, said):
    path = tmp_path / "boxes.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        FromFile(path).propose([tmp_path / "a.jpg"], [["x"]])


def test_annotated_boxes_are_proposals_too(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / "a.jpg")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 20}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 5, 20, 10], "iscrowd": 0}],
        "categories": [{"id": 7, "name": "cat"}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    proposals = GroundTruth(path).propose([tmp_path / "images" / "a.jpg"], [["cat"]])[0]
    assert proposals.boxes.tolist() == [[0.25, 0.25, 0.75, 0.75]]
    assert proposals.score.tolist() == [1.0]
