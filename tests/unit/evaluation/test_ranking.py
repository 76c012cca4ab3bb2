"""Ranks against a slow script that sorts nothing and compares every pair."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.evaluation.ranking import Pairs, Ranks, expected_rank, hits
from foveal.evaluation.retrieval import Asked, ranked, shared


def in_blocks(similarity, size):
    """Similarities of distinct texts, some at a time."""
    return lambda: ((start, similarity[start : start + size]) for start in range(0, len(similarity), size))


def slowly(pairs, similarity, equal_texts):
    """Rank, ties and level of every query, pair by pair."""
    row, image = pairs.row.tolist(), pairs.image.tolist()
    together = set(zip(row, image, strict=True))
    ways = {"text_to_image": [], "image_to_text": []}
    for text, shown in zip(row, image, strict=True):
        right = (
            {shown} if equal_texts == "own" else {other for other in range(pairs.images) if (text, other) in together}
        )
        best = max(similarity[text, other].item() for other in right)
        wrong = [similarity[text, other].item() for other in range(pairs.images) if other not in right]
        level = sum(similarity[text, other].item() == best for other in right)
        ways["text_to_image"].append((1 + sum(s > best for s in wrong), sum(s == best for s in wrong), level))
    for shown in range(pairs.images):

        def is_right(text, other, shown=shown):
            return other == shown if equal_texts == "own" else (text, shown) in together

        scores = [
            (similarity[text, shown].item(), is_right(text, other)) for text, other in zip(row, image, strict=True)
        ]
        best = max(score for score, right in scores if right)
        wrong = [score for score, right in scores if not right]
        level = sum(score == best for score, right in scores if right)
        ways["image_to_text"].append((1 + sum(s > best for s in wrong), sum(s == best for s in wrong), level))
    return ways


@st.composite
def galleries(draw):
    images = draw(st.integers(1, 5))
    image = [*range(images), *draw(st.lists(st.integers(0, images - 1), max_size=6))]
    row = [draw(st.integers(0, 4)) for _ in image]
    names = {name: place for place, name in enumerate(dict.fromkeys(row))}
    pairs = Pairs(torch.tensor([names[name] for name in row]), torch.tensor(image))
    levels = st.sampled_from([0.0, 0.25, 0.5])
    cells = [[draw(levels) for _ in range(images)] for _ in range(pairs.distinct)]
    return pairs, torch.tensor(cells)


@settings(max_examples=150, deadline=None)
@given(galleries(), st.sampled_from(["own", "any"]), st.integers(1, 3))
def test_ranks_in_blocks_are_those_of_comparing_every_pair(gallery, equal_texts, size):
    pairs, similarity = gallery
    ranks = ranked(pairs, in_blocks(similarity, size), Asked(equal_texts))
    for way, rows in slowly(pairs, similarity, equal_texts).items():
        found = ranks[way]
        assert list(zip(found.rank.tolist(), found.tied.tolist(), found.level.tolist(), strict=True)) == rows


@settings(max_examples=60, deadline=None)
@given(galleries())
def test_the_other_rule_is_ranked_for_what_is_shared_alone(gallery):
    pairs, similarity = gallery
    texts, images = shared(pairs)
    if not texts.any():
        return
    ranks = ranked(pairs, in_blocks(similarity, 2), Asked("own", common=images.nonzero()[:, 0]))
    slow = slowly(pairs, similarity, "any")
    assert ranks["text_to_image any"].rank.tolist() == [
        row[0] for row, common in zip(slow["text_to_image"], texts.tolist(), strict=True) if common
    ]
    assert ranks["image_to_text any"].rank.tolist() == [
        row[0] for row, common in zip(slow["image_to_text"], images.tolist(), strict=True) if common
    ]


def one(rank, tied, level):
    column = torch.tensor([rank]), torch.tensor([tied]), torch.tensor([level])
    return Ranks(*column, torch.zeros(1), torch.zeros(1))


@pytest.mark.parametrize(("above", "tied", "level"), [(0, 1, 1), (0, 2, 1), (1, 2, 1), (0, 3, 2), (2, 0, 1), (1, 1, 2)])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_half_is_the_mean_over_all_orders_of_the_ties(above, tied, level, k):
    orders = list(permutations("w" * tied + "r" * level))
    place = [above + order.index("r") + 1 for order in orders]
    ranks = one(above + 1, tied, level)
    assert hits(ranks, k, "half").item() == pytest.approx(sum(p <= k for p in place) / len(place))
    assert expected_rank(ranks, "half").item() == pytest.approx(sum(place) / len(place))


def test_ties_count_as_the_rule_says():
    ranks = one(1, 1, 1)  # one wrong answer scores exactly as the right one
    assert [hits(ranks, 1, ties).item() for ties in ("half", "against", "right")] == [0.5, 0, 1]
    assert [expected_rank(ranks, ties).item() for ties in ("half", "against", "right")] == [1.5, 2, 1]


def test_a_text_of_two_images_by_hand():
    # Texts: "a cat" of image 0, "a cat" of image 1, "a dog" of image 1.
    pairs = Pairs(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]))
    similarity = torch.tensor([[0.9, 0.8], [0.1, 0.8]])  # cat and dog against both images
    own = ranked(pairs, in_blocks(similarity, 1), Asked("own"))
    assert own["text_to_image"].rank.tolist() == [1, 2, 1]  # the second cat finds image 0 first
    assert own["image_to_text"].rank.tolist() == [1, 1]
    assert own["image_to_text"].tied.tolist() == [1, 1]  # the other image's cat scores the same
    anywhere = ranked(pairs, in_blocks(similarity, 1), Asked("any"))
    assert anywhere["text_to_image"].rank.tolist() == [1, 1, 1]
    assert anywhere["image_to_text"].tied.tolist() == [0, 0]
