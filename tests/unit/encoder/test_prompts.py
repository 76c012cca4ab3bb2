"""Names put into prompts."""

import pytest
import torch
import torch.nn.functional as F

from foveal.encoder.prompts import ensemble, filled


def test_one_prompt_is_its_own_ensemble():
    prompts = F.normalize(torch.randn(4, 1, 8), dim=-1)
    torch.testing.assert_close(ensemble(prompts), prompts[:, 0])


def test_a_long_prompt_embedding_weighs_no_more_than_a_short_one():
    prompts = torch.tensor([[[10.0, 0.0], [0.0, 0.1]]])
    torch.testing.assert_close(ensemble(prompts), torch.tensor([[0.5**0.5, 0.5**0.5]]))


def test_a_prompt_without_a_place_is_refused():
    with pytest.raises(ValueError, match="'a photo' has no place for the class name"):
        filled(["a photo"], ["cat"])
