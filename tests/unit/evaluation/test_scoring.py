import pytest
import torch

from foveal.evaluation.encoded import Needs, encode
from foveal.evaluation.scoring import all_pairs, some_pairs
from foveal.types import Sample

TEXTS = [f"text {n}" for n in range(7)]
SIMILARITIES = ("global", "late", "fused", "parts")


@pytest.fixture
def encoded(encoder):
    samples = [Sample(str(n), bytes([n])) for n in range(5)]
    return encode(encoder(), samples, [Needs({"caption": TEXTS}, similarity="fused")])


def by_hand(encoded, row, picture, similarity):
    """Cell by cell. FineLIP's R is the sum of both directions, its score 0.8 * cosine + 0.2 * R."""
    text, image = encoded.texts["caption"], encoded.images
    whole = float(text.embedding[row] @ image.embedding[picture])
    left = text.tokens[row][text.token_mask[row]].tolist()
    right = image.tokens[picture][image.token_mask[picture]].tolist()
    cells = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in right] for x in left]
    leaky = [[cell if cell > 0 else 0.1 * cell for cell in line] for line in cells]
    forth = sum(max(line) for line in leaky) / len(left)
    back = sum(max(column) for column in zip(*leaky, strict=True)) / len(right)
    fused = (0.8 * whole + 0.2 * (forth + back)) / 1.2  # foveal's weights add up to one
    best = sum(max(line) for line in cells) / len(left)
    return {"global": whole, "late": (forth + back) / 2, "fused": fused, "parts": (whole + best) / 2}[similarity]


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_parity_with_the_formulas(encoded, similarity, monkeypatch):
    monkeypatch.setattr("foveal.evaluation.scoring._TEXTS", 3)
    row, picture = torch.tensor([6, 0, 3, 3, 1]), torch.tensor([4, 0, 2])
    expected = [[by_hand(encoded, r, p, similarity) for p in picture.tolist()] for r in row.tolist()]
    torch.testing.assert_close(all_pairs(encoded, "caption", row, picture, similarity), torch.tensor(expected))


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_chosen_pairs_score_as_in_the_matrix(encoded, similarity):
    row, picture = torch.randint(0, 7, (20,)), torch.randint(0, 5, (20,))
    matrix = all_pairs(encoded, "caption", torch.arange(7), torch.arange(5), similarity)
    pairs = some_pairs(encoded, "caption", row, picture, similarity)
    torch.testing.assert_close(pairs, matrix[row, picture])


def test_late_similarity_is_negative_where_nothing_matches(encoder):
    """The slope below zero shows only where a token's best match is below zero."""
    known = {("t", n): [1, 0] for n in range(3)} | {(b"p", n): [-1, 0] for n in range(3)}
    encoded = encode(encoder(known), [Sample("p", b"p")], [Needs({"caption": ["t"]}, similarity="fused")])
    one = torch.tensor([0])
    assert all_pairs(encoded, "caption", one, one, "late").item() == pytest.approx(-0.1)
