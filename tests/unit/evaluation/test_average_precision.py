"""Average precision: closed forms, and golden numbers that pycocotools and the official LVIS code agree on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from foveal.evaluation import average_precision as module
from foveal.evaluation.average_precision import Truth, average_precision
from foveal.types import Detections

WIDTH, HEIGHT, CLASSES = 640, 480, 12
NAMES = tuple(f"class {number}" for number in range(CLASSES))


def fractions(rows):
    x, y, w, h = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    return torch.tensor(np.stack([x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT], axis=1))


def synthetic(count=60):
    """60 pictures of random boxes, three noisy detections of each; numbers are drawn in this order for good."""
    rng = np.random.default_rng(0)
    truths, detections = [], []
    for _ in range(count):
        present, boxes, labels, noisy = set(), [], [], []
        for _ in range(rng.integers(1, 8)):
            x, y = rng.uniform(0, 500), rng.uniform(0, 350)
            w, h = rng.uniform(10, 130, 2)
            label = int(rng.integers(1, CLASSES + 1))
            present.add(label)
            boxes.append([x, y, w, h])
            labels.append(label - 1)
            for _ in range(3):
                d = rng.normal(0, 6, 4)
                shown = label if rng.random() < 0.6 else int(rng.integers(1, CLASSES + 1))
                place = [x + d[0], y + d[1], max(2, w + d[2]), max(2, h + d[3])]
                noisy.append((place, float(rng.random()), shown - 1))
        absent = [int(c) - 1 for c in rng.permutation(CLASSES)[:3] + 1 if int(c) not in present]
        partial = [int(next(iter(present))) - 1] if rng.random() < 0.3 else []
        truths.append(Truth(fractions(boxes), labels, absent=absent, not_exhaustive=partial))
        places, scores, shown = zip(*noisy, strict=True)
        detections.append(
            Detections(fractions(places), torch.tensor(scores).double(), torch.tensor(shown), NAMES, WIDTH, HEIGHT)
        )
    return truths, detections


@pytest.fixture(scope="module")
def made():
    return synthetic()


def test_golden_numbers_of_coco(made):
    precision = average_precision(*made, CLASSES)
    assert precision.mean(at50=False) == pytest.approx(20.5821, abs=1e-3)
    assert precision.mean() == pytest.approx(45.5064, abs=1e-3)


def test_golden_numbers_of_lvis(made):
    precision = average_precision(*made, CLASSES, rule="lvis", most=300)
    assert precision.mean(at50=False) == pytest.approx(25.1005, abs=1e-3)
    assert precision.mean(range(0, CLASSES, 3), at50=False) == pytest.approx(26.3241, abs=1e-3)


def test_fixed_precision_has_no_limit_a_picture_and_one_a_class(made, monkeypatch):
    plain = average_precision(*made, CLASSES, rule="lvis", most=300)
    fixed = average_precision(*made, CLASSES, rule="lvis-fixed")
    np.testing.assert_allclose(fixed.ap, plain.ap)  # no picture has more than 300
    monkeypatch.setattr(module, "FIXED", 5)
    few = average_precision(*made, CLASSES, rule="lvis-fixed")
    assert few.mean(at50=False) < plain.mean(at50=False)


def as_detections(truth, shift=0.0):
    moved = truth.boxes + shift * (truth.boxes[:, [2]] - truth.boxes[:, [0]]) * torch.tensor([1.0, 0.0, 1.0, 0.0])
    return Detections(moved, torch.ones(len(moved)), torch.tensor(truth.label), NAMES, WIDTH, HEIGHT)


def test_the_truth_itself_has_100_and_shifted_by_half_a_width_nothing(made):
    truths = made[0]
    for rule in ("coco", "lvis", "lvis-fixed"):
        precision = average_precision(truths, [as_detections(truth) for truth in truths], CLASSES, rule=rule)
        assert precision.mean(at50=False) == pytest.approx(100)
    apart = [replace(truth, boxes=truth.boxes[:1], label=truth.label[:1]) for truth in truths]
    assert average_precision(apart, [as_detections(truth, 0.5) for truth in apart], CLASSES).mean() == 0


def test_permuting_classes_permutes_the_precision(made):
    truths, detections = made
    order = np.random.default_rng(1).permutation(CLASSES)
    moved_truths = [replace(truth, label=[int(order[label]) for label in truth.label]) for truth in truths]
    moved = [replace(boxes, label=torch.tensor(order)[boxes.label]) for boxes in detections]
    np.testing.assert_allclose(
        average_precision(moved_truths, moved, CLASSES).ap50[order], average_precision(truths, detections, CLASSES).ap50
    )


def test_detections_in_crowds_do_not_count(made):
    truth = Truth(torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]), [0, 0], crowd=[False, True])
    boxes = torch.tensor([[0.5, 0.5, 0.7, 0.7], [0.0, 0.0, 0.5, 0.5]])
    found = Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 0]), NAMES, WIDTH, HEIGHT)
    assert average_precision([truth], [found], 1).mean() == pytest.approx(100)
    single = replace(truth, crowd=[False, False])
    assert average_precision([single], [found], 1).mean() < 60


def test_classes_that_do_not_occur_are_left_out_of_the_mean():
    truth = Truth(torch.tensor([[0.0, 0.0, 0.5, 0.5]]), [1])
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), NAMES, WIDTH, HEIGHT)
    precision = average_precision([truth], [as_detections(truth)], 3)
    assert np.isnan(precision.ap50).tolist() == [True, False, True]
    assert precision.mean() == pytest.approx(100)
    assert average_precision([truth], [none], 3).mean() == 0
    nothing = Truth(torch.zeros(0, 4), [])
    assert np.isnan(average_precision([nothing], [as_detections(truth)], 3).mean())


def test_other_numbers_of_pictures_and_a_missing_package_are_refused(made, monkeypatch):
    with pytest.raises(ValueError, match="true boxes of 60 pictures and detections of 1"):
        average_precision(made[0], made[1][:1], CLASSES)
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    with pytest.raises(ValueError, match=r'pip install "foveal\[detect\]"'):
        average_precision(*made, CLASSES)
