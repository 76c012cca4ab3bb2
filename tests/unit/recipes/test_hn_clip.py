import pytest
import torch

from foveal.recipes import long_clip
from foveal.recipes.hn_clip import Objective, hn_clip


def test_the_margin_of_a_negative_grows_with_how_unlike_the_caption_it_is(output):
    captions, near = output.texts["caption"].embedding, output.texts["caption_negative"]
    total = 0.0
    for negative, image in zip(near.embedding, near.owner.tolist(), strict=True):
        margin = 0.4 * (1 - captions[image] @ negative)
        total = total + (margin - output.image[image] @ (captions[image] - negative)).relu() / len(near.embedding)
    terms = Objective(weight=3.0, margin=0.4)(output)
    torch.testing.assert_close(terms.pop("caption_negative"), 3 * total)
    expected = long_clip.Objective()(output)
    assert list(terms) == list(expected)
    assert all(terms[name] == value for name, value in expected.items())


def test_hard_negatives_are_needed(output, without):
    with pytest.raises(ValueError, match=r"--set data\.caption_negatives=4"):
        Objective()(without(output, "caption_negative"))
    assert hn_clip().data.caption_negatives
