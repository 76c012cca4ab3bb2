"""Proposals of dense features: the best rectangle against a search of all, and maps that one can see through."""

import itertools

import pytest
import torch
from PIL import Image

from foveal.detection.dense import Dense, heaviest_box

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def test_parity_the_heaviest_box_matches_a_search_of_all():
    for seed in range(8):
        torch.manual_seed(seed)
        similarity = torch.randn(5, 7)
        level = 0.6
        values = similarity - (similarity.min() + level * (similarity.max() - similarity.min()))
        best = max(
            (
                (values[y0:y1, x0:x1].sum().item(), (x0, y0, x1, y1))
                for x0, x1 in itertools.combinations(range(8), 2)
                for y0, y1 in itertools.combinations(range(6), 2)
            )
        )
        assert heaviest_box(similarity, level) == best[1]


def test_a_lit_rectangle_is_its_own_box_and_a_flat_map_is_whole():
    similarity = torch.zeros(10, 12)
    similarity[2:5, 3:9] = 1
    assert heaviest_box(similarity, 0.5) == (3, 2, 9, 5)
    assert heaviest_box(torch.ones(4, 6), 0.5) == (0, 0, 6, 4)
    large = similarity.repeat_interleave(10, 0).repeat_interleave(10, 1)
    assert heaviest_box(large, 0.5) == pytest.approx((30, 20, 90, 50), abs=4)


class Painted:
    """Stands in for an encoder: pictures are maps, and two words point along two axes."""

    def encode_patches(self, pictures):
        patches = torch.zeros(len(pictures), 8, 8, 3)
        patches[:, :, :4, 0] = 1
        patches[:, :, 4:, 1] = 1
        return patches

    def encode_texts(self, texts, kind):
        assert kind == "phrase"
        rows = torch.eye(3)
        return torch.stack([rows[["left", "right"].index(text)] if text in "left right" else rows[2] for text in texts])


def test_the_best_box_of_a_name_is_where_it_is(unchecked):
    first, second = Dense(Painted()).propose([b"", b""], [["left", "right"], ["right"]])
    best = first.boxes[first.class_score.argmax(dim=0)]
    assert best.tolist() == [[*LEFT], [*RIGHT]]
    assert second.boxes[second.class_score[:, 0].argmax()].tolist() == [*RIGHT]
    torch.testing.assert_close(first.score, first.class_score.amax(dim=1))


def test_evidence_is_contrast_times_the_root_of_the_share(unchecked):
    proposals = Dense(Painted()).propose([b""], [["left"]])[0]
    torch.testing.assert_close(proposals.score.max(), torch.tensor(0.5).sqrt())  # contrast 1 in half of the picture


def test_order_of_names_only_orders_scores(unchecked):
    one, other = (Dense(Painted()).propose([b""], [names])[0] for names in (["left", "right"], ["right", "left"]))
    best = [scores.sort(dim=0, descending=True).values[:20] for scores in (one.class_score, other.class_score.flip(1))]
    torch.testing.assert_close(*best)


def test_any_encoder_proposes_boxes_within_the_picture(encoder):
    pictures = [Image.new("RGB", (64, 40), "red"), Image.new("RGB", (40, 64))]
    for proposals in Dense(encoder).propose(pictures, [["a dog"], ["a", "b"]]):
        assert len(proposals)
        assert ((proposals.boxes >= 0) & (proposals.boxes <= 1)).all()
        assert ((proposals.class_score >= 0) & (proposals.class_score <= 1)).all()


def test_each_picture_is_looked_at_for_its_own_names(unchecked):
    left, neither, right = Dense(Painted()).propose([b"", b"", b""], [["left"], [], ["right"]])
    assert len(neither) == 0
    assert [tuple(one.boxes[one.score.argmax()].tolist()) for one in (left, right)] == [LEFT, RIGHT]
