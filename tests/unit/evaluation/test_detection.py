"""Detection as a protocol: a made-up set whose true boxes are also the proposals, and boxes by the encoder itself."""

import json

import pytest
from PIL import Image

from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.detection.files import write_proposals
from foveal.detection.proposals import Proposals
from foveal.encoder import Encoder
from foveal.evaluation.detection import DetectionTask, frequencies
from foveal.evaluation.evaluate import evaluate
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.types import Sample


@pytest.fixture(scope="module")
def tower():
    config = tiny()
    transform = ImageTransform(size=config.vision.image_size, patch_size=config.vision.patch_size)
    return Encoder(DualEncoder(config).eval(), Tokenizer.clip(), transform)


def annotations(**entry):
    return {
        "images": [{"id": 7, "file_name": "7.jpg", "width": 64, "height": 48, **entry}],
        "annotations": [
            {"image_id": 7, "bbox": [0, 0, 32, 48], "category_id": 1, "iscrowd": 0},
            {"image_id": 7, "bbox": [32, 0, 32, 48], "category_id": 2, "iscrowd": 1},
            {"image_id": 7, "bbox": [5, 5, 9, 9], "category_id": 3, "iscrowd": 0},
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "hot_dog"}],
    }


@pytest.fixture
def photo(tmp_path):
    Image.effect_noise((64, 48), 90).convert("RGB").save(tmp_path / "7.jpg")
    (tmp_path / "instances.json").write_text(json.dumps(annotations()))
    return Sample("7", tmp_path / "7.jpg")


def test_classes_that_are_not_asked_do_not_exist_and_crowds_are_known():
    truth = DetectionTask(("dog", "cat"), annotations=annotations(neg_category_ids=[2, 3]))._truths()["7"]
    assert truth.label == [0, 1]
    assert truth.crowd == [False, True]
    assert truth.absent == [1]
    assert truth.boxes.tolist() == [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]


def test_true_boxes_of_one_class_have_100(photo, tower):
    task = DetectionTask(
        ("dog",), {"base": ("dog",)}, annotations(), boxes=str(photo.image.parent / "instances.json"), prompts=("{}",)
    )
    result = task.measure(tower, [photo], lambda path: path)
    assert result.metrics["ap50_base"].value == result.metrics["ap50"].value > 0


def test_a_file_of_proposals_is_named_by_its_hash(photo, tower):
    import torch

    path = photo.image.parent / "boxes.jsonl"
    write_proposals(path, [("7.jpg", Proposals(torch.tensor([[0.0, 0.0, 0.5, 1.0]]), torch.ones(1)))])
    task = DetectionTask(("dog",), annotations=annotations(), boxes=str(path), prompts=("{}",))
    result = task.measure(tower, [photo], lambda path: path)
    assert result.metrics["ap50"].value == pytest.approx(100)
    assert "boxes.jsonl (sha256 " in result.notes[0]
    assert "rule=box" in result.notes[0]


def test_lvis_counts_by_frequency():
    content = annotations()
    content["categories"] = [{"id": 1, "name": "a_b", "frequency": "r"}, {"id": 2, "name": "c", "frequency": "f"}]
    assert frequencies(content) == {"r": ("a b",), "f": ("c",)}


def test_ov_coco_runs_by_its_name_with_boxes_of_choice(tmp_path, tower):
    folder = tmp_path / "coco/val2017"
    folder.mkdir(parents=True)
    Image.effect_noise((64, 48), 90).convert("RGB").save(folder / "7.jpg")
    (tmp_path / "coco/annotations").mkdir()
    path = tmp_path / "coco/annotations/instances_val2017.json"
    path.write_text(json.dumps(annotations()))
    report = evaluate(tower, ["ov-coco@48-17"], tmp_path, boxes=str(path))
    result = report.results["ov-coco@48-17"]["detection"]
    assert set(result.metrics) == {"ap50", "ap50_base", "ap50_novel"}
    assert (result.found, result.total) == (1, 1)
    assert "65 classes" in result.notes[0]


def test_an_encoder_that_finds_nothing_is_told_so(photo, encoder):
    with pytest.raises(ValueError, match="KnownEncoder finds no boxes"):
        DetectionTask(("dog",), annotations=annotations()).measure(encoder(), [photo], lambda path: path)
