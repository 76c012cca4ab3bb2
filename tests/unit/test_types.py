import pytest
import torch

from foveal.training.feed import Feed
from foveal.types import SETTINGS, Output, TextEmbeddings

NUMBER = torch.tensor(1.0)
OUTPUT = Output(
    torch.ones(1, 2), NUMBER, NUMBER, NUMBER, NUMBER, {"caption": TextEmbeddings(torch.ones(1, 2), torch.arange(1))}
)


def test_a_group_that_is_there_is_given():
    assert OUTPUT.need("caption") is OUTPUT.texts["caption"]


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - {"caption"}))
def test_a_group_that_is_missing_is_asked_for_by_its_setting(name):
    with pytest.raises(ValueError, match=f"needs the texts '{name}'.* --set {SETTINGS[name]}"):
        OUTPUT.need(name)
    assert hasattr(Feed(), SETTINGS[name].removeprefix("data.").partition("=")[0])


def test_a_recipes_own_group_is_asked_for_where_groups_are_set():
    with pytest.raises(ValueError, match=r"Add a group of that name to data\.groups"):
        OUTPUT.need("sub_caption")


def test_token_sets_are_asked_for_by_their_setting():
    with pytest.raises(ValueError, match=r"--set model\.tokens=raw"):
        OUTPUT.need_tokens("caption")
