"""Which boxes are learned from, by hand."""

import torch

from foveal.models.assignment import draw_samples, match

BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 8], [50, 50, 60, 60], [0, 0, 10, 3.5]])


def test_boxes_are_positive_background_or_neither():
    truth = torch.tensor([[0.0, 0, 10, 10]])
    positive, negative, index = match(BOXES, truth, 0.7, 0.4)
    assert positive.tolist() == [True, False, True, False, False]
    assert negative.tolist() == [False, False, False, True, True]
    assert index.tolist() == [0] * 5


def test_the_best_box_of_a_true_one_is_positive_too():
    truth = torch.tensor([[0.0, 0, 10, 10], [48, 50, 68, 60]])  # of the second the best has 0.5
    positive, negative, index = match(BOXES, truth, 0.7, 0.3, least=0.3)
    assert positive.tolist() == [True, False, True, True, False]
    assert index[3] == 1
    assert not match(BOXES, truth, 0.7, 0.3, least=0.6)[0][3]
    assert not (positive & negative).any()


def test_without_true_boxes_all_is_background():
    positive, negative, _ = match(BOXES, torch.zeros(0, 4), 0.7, 0.3)
    assert not positive.any()
    assert negative.all()


def test_samples_are_drawn_alike_for_equal_seeds():
    positive = torch.arange(40) < 10
    hits, others = draw_samples(positive, ~positive, 16, 4, seed=3)
    assert (len(hits), len(others)) == (4, 12)
    assert positive[hits].all()
    assert not positive[others].any()
    assert torch.equal(hits, draw_samples(positive, ~positive, 16, 4, seed=3)[0])
    assert not torch.equal(others, draw_samples(positive, ~positive, 16, 4, seed=4)[1])


def test_few_positives_leave_room_for_background():
    positive = torch.arange(40) < 2
    hits, others = draw_samples(positive, ~positive, 16, 8, seed=0)
    assert (len(hits), len(others)) == (2, 14)
