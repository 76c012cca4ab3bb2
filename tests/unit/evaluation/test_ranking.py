"""Ranks against a slow script that sorts nothing and compares every pair."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from foveal.evaluation.ranking import Pairs, Rankings, Ranks, Tiles, expected_rank, hits

WAYS = ("text_to_image", "image_to_text")


def in_tiles(similarity, height, width, budget=0):
    """Similarities of distinct texts to images, some of both at a time."""
    return Tiles(*similarity.shape, lambda rows, columns: similarity[rows, columns].clone(), height, width, budget)


def ranked(pairs, similarity, equal_texts, height=1, width=1, budget=0):
    """Ranks both ways."""
    rankings = Rankings(pairs, in_tiles(similarity, height, width, budget))
    return {way: getattr(rankings, way)(equal_texts) for way in WAYS}


def slowly(pairs, similarity, equal_texts):
    """Rank, ties, level, score and rival of every query, pair by pair."""
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
        ways["text_to_image"].append(counted(best, wrong, level))
    for shown in range(pairs.images):

        def is_right(text, other, shown=shown):
            return other == shown if equal_texts == "own" else (text, shown) in together

        scores = [
            (similarity[text, shown].item(), is_right(text, other)) for text, other in zip(row, image, strict=True)
        ]
        best = max(score for score, right in scores if right)
        wrong = [score for score, right in scores if not right]
        level = sum(score == best for score, right in scores if right)
        ways["image_to_text"].append(counted(best, wrong, level))
    return ways


def counted(best, wrong, level):
    rival = max(wrong, default=float("-inf"))
    return 1 + sum(s > best for s in wrong), sum(s == best for s in wrong), level, best, rival


def columns(ranks):
    """What `slowly` gives."""
    return list(zip(*(column.tolist() for column in ranks.columns()), strict=True))


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


@settings(max_examples=100, deadline=None)
@given(galleries(), st.sampled_from(["own", "any"]), st.integers(1, 3), st.integers(1, 3), st.integers(0, 60))
def test_ranks_in_tiles_are_those_of_comparing_every_pair(gallery, equal_texts, height, width, budget):
    pairs, similarity = gallery
    ranks = ranked(pairs, similarity, equal_texts, height, width, budget)
    for way, rows in slowly(pairs, similarity, equal_texts).items():
        assert columns(ranks[way]) == rows


def test_images_out_of_a_gallery_are_out_of_that_query_alone():
    # One text of images 0 and 2. Its first query does not meet image 1, its second not image 3.
    pairs, similarity = Pairs(torch.tensor([0, 0]), torch.tensor([0, 2])), torch.tensor([[0.5, 0.9, 0.4, 0.8]])
    excluded = Pairs(torch.tensor([0, 1]), torch.tensor([1, 3]))
    ranks = Rankings(pairs, in_tiles(similarity, 1, 3), back=False, excluded=excluded).text_to_image("own")
    assert ranks.rank.tolist() == [2, 3]  # behind image 3; behind images 0 and 1
    assert ranks.rival.tolist() == pytest.approx([0.8, 0.9])


def test_equal_embeddings_tie_to_the_last_bit_wherever_they_stand():
    made = torch.Generator().manual_seed(0)
    few = torch.nn.functional.normalize(torch.randn(20, 512, generator=made), dim=1)
    text, image = torch.arange(90) % 20, torch.arange(70) % 20  # which of the embeddings each has
    tiles = Tiles(90, 70, lambda rows, columns: few[text][rows] @ few[image][columns].T, 32, 32)
    rankings = Rankings(Pairs(torch.arange(90), torch.arange(90) % 70), tiles)
    scores = (few.double() @ few.double().T)[text][:, image]
    right = scores[torch.arange(90), torch.arange(90) % 70]
    forth = rankings.text_to_image("own")
    assert (forth.rank == 1 + (scores > right[:, None] + 1e-6).sum(1)).all()
    assert (forth.tied == ((scores - right[:, None]).abs() < 1e-6).sum(1) - 1).all()


def test_a_tile_is_computed_again_only_beyond_the_budget():
    calls = []

    def compute(rows, columns):
        calls.append((rows.start, columns.start))
        return torch.zeros(rows.stop - rows.start, columns.stop - columns.start)

    pairs = Pairs(torch.arange(8), torch.arange(8))
    for budget, least in ((0, 16 + 4), (4 * 2 * 2 * 3, 16 + 1), (2**20, 16)):  # 4 of 16 tiles lie on the diagonal
        calls.clear()
        Rankings(pairs, Tiles(8, 8, compute, 2, 2, budget))
        assert len(calls) == least


class Largest(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that anything makes."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.nbytes)
        return made


@pytest.mark.parametrize("equal_texts", ["own", "any"])
def test_nothing_larger_than_a_tile_is_made(equal_texts):
    texts, images, side = 3000, 600, 64
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(number, 8, generator=generator) for number in (texts, images))
    tiles = Tiles(texts, images, lambda rows, columns: left[rows] @ right[columns].T, 2 * side, side)
    pairs = Pairs(torch.arange(texts), torch.arange(texts) // 5)
    with Largest() as largest:
        Rankings(pairs, tiles).text_to_image(equal_texts)
    assert largest.bytes <= max(4 * 2 * side * side, 8 * texts)  # a tile, or a number for each text


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
    own = ranked(pairs, similarity, "own")
    assert own["text_to_image"].rank.tolist() == [1, 2, 1]  # the second cat finds image 0 first
    assert own["image_to_text"].rank.tolist() == [1, 1]
    assert own["image_to_text"].tied.tolist() == [1, 1]  # the other image's cat scores the same
    anywhere = ranked(pairs, similarity, "any")
    assert anywhere["text_to_image"].rank.tolist() == [1, 1, 1]
    assert anywhere["image_to_text"].tied.tolist() == [0, 0]
