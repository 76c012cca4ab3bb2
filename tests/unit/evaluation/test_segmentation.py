"""Label maps against counts by hand, and the whole task on made-up photos whose labels are known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.encoder.segmenting import Segmenting
from foveal.evaluation.benchmark import Benchmark
from foveal.evaluation.pinned.reading import Roots, read
from foveal.evaluation.pinned.registry import find
from foveal.evaluation.pinned.tasks import measured as measured_by
from foveal.evaluation.segmentation import Counts, SegmentationTask, count_pixels, mean_iou
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.types import Sample, Segmentation


def counts_of(*pairs, classes=2):
    rows = [count_pixels(torch.tensor(labels), torch.tensor(truth), classes) for labels, truth in pairs]
    return Counts(*(torch.stack(part) for part in zip(*rows, strict=True)))


HAND = ([[0, 1], [1, 1]], [[0, 0], [1, 255]])  # labels, truth


def test_by_hand():
    counts = counts_of(HAND)
    assert (counts.both.tolist(), counts.truth.tolist(), counts.labels.tolist()) == ([[1, 1]], [[2, 1]], [[1, 2]])
    assert float(mean_iou(counts)[0]) == pytest.approx(50)


def test_pixels_are_summed_before_classes_are_averaged():
    right = ([[0, 0], [0, 0]], [[0, 0], [0, 0]])
    both = counts_of(HAND, right)
    assert float(mean_iou(both)[0]) == pytest.approx(100 * (5 / 6 + 1 / 2) / 2)
    twice = mean_iou(both, torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    assert twice.tolist() == pytest.approx([50.0, 100.0])


def test_all_right_is_100_and_classes_that_never_occur_are_left_out():
    truth = torch.randint(3, (6, 7)).tolist()
    assert float(mean_iou(counts_of((truth, truth), classes=9))[0]) == pytest.approx(100)


def test_labels_of_another_set_or_size_are_refused(unchecked):
    with pytest.raises(ValueError, match="holds class 7, and there are 2"):
        count_pixels(torch.zeros(2, 2).long(), torch.full((2, 2), 7), 2)
    with pytest.raises(ValueError, match=r"of \(2, 3\) pixels and the truth of \(2, 2\)"):
        count_pixels(torch.zeros(2, 3).long(), torch.zeros(2, 2).long(), 2)


@dataclass
class Halves:
    """Labels the left half as the first name, the right half as the last."""

    sure: float = 1.0

    def segment(self, pictures, names, *, templates, settings):
        labels = torch.zeros(4, 6).long()
        labels[:, 3:] = len(names) - 1
        labels = labels.masked_fill(torch.tensor(self.sure < settings.threshold), -1)
        return [Segmentation(labels, torch.full((4, 6), self.sure), tuple(names)) for _ in pictures]


def measured(tmp_path, truth, names=("a", "b"), classes=2, encoder=None, **fields):
    file = tmp_path / "x.png"
    Image.fromarray(np.array(truth, dtype=np.uint8)).save(file)
    task = SegmentationTask(names, classes, {"x": file}, **fields)
    samples = [Sample("x", tmp_path / "x.jpg")]
    assert task.count(samples) == 1
    return task.measure(encoder or Halves(), samples, lambda path: path).metrics


def halves(left, right):
    return [[left] * 3 + [right] * 3] * 4


def test_ignored_background_counts_for_nothing(tmp_path):
    assert measured(tmp_path, halves(1, 2))["miou"].value == pytest.approx(100)
    part = measured(tmp_path, halves(1, 0))
    assert part["miou"].value == pytest.approx(100)
    assert part["pixel_accuracy"].value == pytest.approx(100)
    assert measured(tmp_path, halves(2, 1))["miou"].value == pytest.approx(0)


def test_background_is_a_class_of_what_nobody_is_sure_of(tmp_path):
    settings = Segmenting(threshold=0.5)
    sure = measured(tmp_path, halves(1, 2), background="class", settings=settings)
    assert sure["miou"].value == pytest.approx(100)
    unsure = measured(tmp_path, halves(0, 0), background="class", settings=settings, encoder=Halves(0.1))
    assert unsure["miou"].value == pytest.approx(100)


def test_the_rest_of_the_names_is_background(tmp_path):
    metrics = measured(tmp_path, halves(1, 0), names=("a", "b", "sky"), classes=2, background="rest")
    assert metrics["miou"].value == pytest.approx(100)


def test_equal_pictures_have_an_interval_without_width(tmp_path):
    metric = measured(tmp_path, halves(1, 2))["miou"]
    assert (metric.low, metric.high) == (metric.value, metric.value)


@pytest.fixture
def voc(tmp_path):
    """Two photos of VOC's layout, with palettes."""
    root = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_000033\n2007_000042\n")
    for name in ("2007_000033", "2007_000042"):
        Image.effect_noise((48, 32), 80).convert("RGB").save(root / f"JPEGImages/{name}.jpg")
        labels = Image.new("P", (48, 32))
        labels.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        labels.paste(1, (0, 0, 24, 32))
        labels.paste(255, (24, 0, 26, 32))
        labels.save(root / f"SegmentationClass/{name}.png")
    return tmp_path


@pytest.mark.parametrize("name", ["voc@20", "voc@21", "voc@20b"])
def test_protocols_of_voc_read_their_layout(voc, name):
    config = tiny()
    transform = ImageTransform(size=config.vision.image_size, patch_size=config.vision.patch_size)
    tower = Encoder(DualEncoder(config).eval(), Tokenizer.clip(), transform)
    whole = measured_by(find(name), read(find(name), Roots((voc,))))
    assert whole.task.names[:3] == ("aeroplane", "bicycle", "bird")
    small = replace(
        whole.task, templates=("{}",), settings=replace(whole.task.settings, short=32, window=32, stride=16)
    )
    result = Benchmark(whole.samples, (small,), images=whole.data.images)(tower)["segmentation"]
    assert (result.found, result.total, result.unit) == (2, 2, "pictures")
    assert 0 <= result.metrics["miou"].value <= 100


def test_an_encoder_that_cannot_segment_is_told_so(tmp_path, encoder):
    with pytest.raises(ValueError, match="KnownEncoder cannot label pixels"):
        measured(tmp_path, halves(1, 2), encoder=encoder())
