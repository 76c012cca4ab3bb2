"""Taps of the image tower against its blocks run one by one."""

from dataclasses import replace

import pytest
import torch

from foveal.models.config import VisionConfig
from foveal.models.layers import CPU_TOKENS, uniform
from foveal.models.vision import VisionTower, patchify

CLIP = VisionConfig(width=16, layers=3, heads=2, mlp_width=32, image_size=32, patch_size=8)
SIGLIP = replace(CLIP, pooling="attention", input_norm=False, patch_bias=True)


def blocks_one_by_one(tower: VisionTower, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Output of every block, all images at once."""
    x, packing = tower._embed(patchify(pixels, 8), whole=True)
    x, outputs = tower.input_norm(x), []
    for block in tower.transformer.blocks:
        x = block(x, packing)
        outputs.append(x.unflatten(0, (len(pixels), -1)))
    return outputs


@pytest.mark.parametrize("config", [CLIP, SIGLIP], ids=["class token", "attention pool"])
def test_parity_taps_are_what_blocks_give(config):
    tower, pixels = VisionTower(config), torch.randn(2, 3, 32, 32)
    first = 1 if config.pooling == "class" else 0
    features = tower(pixels, taps=(0, 2, 1))
    outputs = blocks_one_by_one(tower, pixels)
    for tap, number in zip(features.taps, (0, 2, 1), strict=True):
        torch.testing.assert_close(tap, outputs[number][:, first:])


def test_taps_change_nothing_else():
    tower, pixels = VisionTower(CLIP), torch.randn(2, 3, 32, 32)
    plain, tapped = tower(pixels), tower(pixels, taps=(0,))
    assert torch.equal(plain.pooled, tapped.pooled)
    assert torch.equal(plain.patches, tapped.patches)
    assert plain.taps == ()


def test_the_last_tap_is_read_as_the_dense_features_are():
    tower, pixels = VisionTower(replace(CLIP, dense="identity_attention")), torch.randn(2, 3, 32, 32)
    features = tower(pixels, taps=(1, 2))
    torch.testing.assert_close(tower.norm(features.taps[1]), features.patches)
    x = blocks_one_by_one(tower, pixels)[1]
    torch.testing.assert_close(features.taps[1], tower.transformer.blocks[-1].without_attention(x)[:, 1:])


def test_taps_see_all_images_where_a_processor_takes_them_in_portions():
    """Without gradients a CPU runs few tokens through all blocks at a time; hooks on blocks saw a part of the batch."""
    tower = VisionTower(CLIP)
    pixels = torch.randn(2 * CPU_TOKENS // 17, 3, 32, 32)
    with torch.no_grad():
        taps = tower(pixels, taps=(1,)).taps[0]
    assert taps.shape == (len(pixels), 16, 16)
    torch.testing.assert_close(taps, tower(pixels, taps=(1,)).taps[0], rtol=1e-4, atol=1e-5)


def test_a_block_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"taps are \(3,\)\. The blocks of this tower go from 0 to 2\."):
        VisionTower(CLIP)(torch.randn(1, 3, 32, 32), taps=(3,))


def test_outputs_of_no_tokens_are_no_tokens():
    tower = VisionTower(CLIP)
    packing = uniform(0, 17, torch.device("cpu"))
    with torch.no_grad():
        assert [len(rows) for rows in tower.transformer.outputs(torch.zeros(0, 16), packing, (0, -1))] == [0, 0]
