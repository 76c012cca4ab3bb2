"""Images and texts compared by whole and by parts."""

import pytest
import torch
import torch.nn.functional as F

from foveal.encoder import EncodedImages, EncodedTexts
from foveal.encoder.scores import SCORES, Global, Score, compare, find_score, scores_of
from foveal.similarity import clim


def unit(*shape):
    return F.normalize(torch.randn(shape), dim=-1)


@pytest.fixture
def sets():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    texts = EncodedTexts(unit(2, 8), unit(2, 3, 8), mask)
    return texts, EncodedImages(unit(4, 8), tokens=unit(4, 5, 8), token_mask=torch.ones(4, 5, dtype=torch.bool))


def test_the_ways_are_cosine_half_of_finelips_r_its_ranking_and_the_best_patch_of_each_sentence(sets):
    texts, images = sets
    whole = texts.embedding @ images.embedding.T
    r = clim(texts.tokens, images.tokens, texts.token_mask, images.token_mask)
    torch.testing.assert_close(compare(texts, images), whole)
    torch.testing.assert_close(compare(texts, images, SCORES["late"]), r / 2)
    torch.testing.assert_close(compare(texts, images, SCORES["fused"]) * 1.2, 0.8 * whole + 0.2 * r)
    for row in range(2):
        for column in range(4):
            real = texts.tokens[row][texts.token_mask[row]]
            best = (real @ images.tokens[column].T).amax(1).mean()
            expected = (whole[row, column] + best) / 2
            torch.testing.assert_close(compare(texts, images, SCORES["parts"])[row, column], expected)


@pytest.mark.parametrize("name", sorted(SCORES.keys() - {"global"}))
def test_what_was_not_encoded_is_not_compared(sets, name):
    texts, images = sets
    with pytest.raises(ValueError, match="compares token sets"):
        compare(texts, EncodedImages(images.embedding), SCORES[name])


def test_an_unknown_way_lists_the_known():
    with pytest.raises(ValueError, match=r"no similarity 'best'\. There are: global, late, fused, parts, region"):
        find_score("best")


def test_a_learned_part_brings_its_score_under_its_name():
    model = torch.nn.Module()
    model.parts = torch.nn.ModuleDict({"pool": torch.nn.Linear(1, 1), "plain": torch.nn.Linear(1, 1)})
    model.parts["pool"].score = Global()
    assert list(scores_of(model)) == [*SCORES, "pool"]
    assert scores_of(torch.nn.Module()) == dict(SCORES)


def test_every_score_says_what_it_needs():
    assert all(isinstance(score, Score) for score in SCORES.values())
