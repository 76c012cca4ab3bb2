from dataclasses import replace

import pytest
import torch
from torch import nn

from foveal.models.config import ModelConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.layers import uniform
from foveal.models.sizes import tiny
from foveal.models.text import TextFeatures, TextTower
from foveal.models.towers import ImageTower, LanguageTower
from foveal.models.vision import VisionFeatures, VisionTower

WIDTH, SIDE, LENGTH = 6, 4, 5


class Squares(nn.Module):
    """Sees squares of pixels, each as a linear map of its colors."""

    width = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, WIDTH, SIDE, SIDE)

    def forward(self, pixels: torch.Tensor, *, dense: bool = True) -> VisionFeatures:
        maps = self.look(pixels)
        patches = maps.flatten(2).mT
        grid = torch.tensor(maps.shape[2:]).expand(len(pixels), 2)
        mask = torch.ones(patches.shape[:2], dtype=torch.bool)
        return VisionFeatures(patches.mean(dim=1), patches if dense else None, mask, grid)


class Bag(nn.Module):
    """Reads every text as its tokens' mean, all texts of one length."""

    width = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, WIDTH)

    def ends(self, token_ids: torch.Tensor) -> list[int]:
        return [token_ids.shape[1]] * len(token_ids)

    def forward(self, token_ids: torch.Tensor, kind: str = "caption", *, tokens: bool = True) -> TextFeatures:
        words = self.words(token_ids)
        packing = uniform(len(words), words.shape[1], words.device)
        return TextFeatures(words.mean(dim=1), words.flatten(0, 1) if tokens else None, packing)


def config() -> ModelConfig:
    base = tiny()
    vision = replace(base.vision, tower="own", width=WIDTH, image_size=4 * SIDE, patch_size=SIDE)
    text = replace(base.text, tower="own", width=WIDTH, vocabulary=10, eos_id=9, context=LENGTH)
    return replace(base, vision=vision, text=text)


def test_our_transformers_are_towers() -> None:
    assert isinstance(VisionTower(tiny().vision), ImageTower)
    assert isinstance(TextTower(tiny().text), LanguageTower)
    assert not isinstance(nn.Linear(2, 2), ImageTower | LanguageTower)


def test_any_two_towers_make_a_dual_encoder() -> None:
    model = DualEncoder(config(), Squares(), Bag())
    pixels = torch.randn(2, 3, 16, 16)
    whole = model.encode_images(pixels)
    # This tower's whole is the mean of its parts, and a linear projection keeps that.
    full = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
    torch.testing.assert_close(model.encode_regions(pixels, full, torch.tensor([0, 1])), whole)
    patches, mask, grid = model.encode_patches(pixels)
    assert patches.shape == (2, 16, model.config.embed_width) and mask.all() and grid.tolist() == [[4, 4]] * 2
    texts = model.encode_texts(torch.randint(0, 10, (3, LENGTH)), "phrase")
    assert (whole @ texts.T).isfinite().all()
    texts.sum().backward()
    assert model.text.words.weight.grad is not None


def test_a_tower_of_ones_own_must_be_given(unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"image=\.\.\."):
        DualEncoder(config())
    with pytest.raises(ValueError, match=r"language=\.\.\."):
        DualEncoder(config(), Squares())


def test_widths_must_agree(unchecked: None) -> None:
    wide = replace(config(), vision=replace(config().vision, width=7))
    with pytest.raises(ValueError, match=r"vision tower is 6 wide, config\.vision\.width is 7"):
        DualEncoder(wide, Squares(), Bag())
