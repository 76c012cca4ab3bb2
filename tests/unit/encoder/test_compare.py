"""Pictures and texts compared by whole and by parts, and names put into prompts."""

import pytest
import torch
import torch.nn.functional as F

from foveal.encoder import EncodedImages, EncodedTexts
from foveal.encoder.compare import compare, ensemble, filled
from foveal.similarity import clim


def unit(*shape):
    return F.normalize(torch.randn(shape), dim=-1)


@pytest.fixture
def sets():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    texts = EncodedTexts(unit(2, 8), unit(2, 3, 8), mask)
    return texts, EncodedImages(unit(4, 8), tokens=unit(4, 5, 8), token_mask=torch.ones(4, 5, dtype=torch.bool))


def test_the_three_ways_are_cosine_half_of_finelips_r_and_its_ranking(sets):
    texts, images = sets
    whole = texts.embedding @ images.embedding.T
    r = clim(texts.tokens, images.tokens, texts.token_mask, images.token_mask)
    torch.testing.assert_close(compare(texts, images), whole)
    torch.testing.assert_close(compare(texts, images, "late"), r / 2)
    torch.testing.assert_close(compare(texts, images, "fused") * 1.2, 0.8 * whole + 0.2 * r)


def test_what_was_not_encoded_is_not_compared(sets):
    texts, images = sets
    with pytest.raises(ValueError, match="'late' compares token sets"):
        compare(texts, EncodedImages(images.embedding), "late")


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_way_lists_the_known(sets):
    with pytest.raises(ValueError, match=r"no similarity 'best'\. There are: global, late, fused, parts"):
        compare(*sets, "best")


def test_one_prompt_is_its_own_ensemble():
    prompts = F.normalize(torch.randn(4, 1, 8), dim=-1)
    torch.testing.assert_close(ensemble(prompts), prompts[:, 0])


def test_a_long_prompt_embedding_weighs_no_more_than_a_short_one():
    prompts = torch.tensor([[[10.0, 0.0], [0.0, 0.1]]])
    torch.testing.assert_close(ensemble(prompts), torch.tensor([[0.5**0.5, 0.5**0.5]]))


def test_a_prompt_without_a_place_is_refused():
    with pytest.raises(ValueError, match="'a photo' has no place for the class name"):
        filled(["a photo"], ["cat"])
