"""The last block with other attention maps, against loops over tokens written from the formulas."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.models.dense_maps import dense_encoding, last_block
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny


def slow_block(block, x, attention):
    """One sequence (T, W), head by head and token by token."""
    weights = block.attention
    q, k, v = (rows.unflatten(-1, (weights.heads, -1)) for rows in weights.qkv(block.norm1(x)).chunk(3, dim=-1))
    mixed = torch.zeros_like(v)
    for head in range(weights.heads):
        for token in range(len(x)):
            if attention in ("identity", "maskclip"):
                mixed[token, head] = v[token, head]
                continue
            for rows in (q, k) if attention == "sclip" else (q,):
                alike = (rows[:, head] * rows[token, head]).sum(dim=1) / rows.shape[-1] ** 0.5
                mixed[token, head] += (alike.exp() / alike.exp().sum()) @ v[:, head]
    out = weights.out(mixed.flatten(1))
    if attention in ("maskclip", "clearclip"):
        return out
    x = x + out
    return x + block.mlp(block.norm2(x))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DualEncoder(tiny()).eval()


@pytest.mark.parametrize("attention", ["identity", "maskclip", "sclip", "clearclip"])
def test_parity_blocks_match_loops(model, attention):
    block = model.vision.transformer.blocks[-1]
    x = torch.randn(2, 5, model.vision.width)
    with torch.no_grad():
        fast = last_block(block, x, torch.ones(2, 5, dtype=torch.bool), attention)
        for row in range(2):
            torch.testing.assert_close(fast[row], slow_block(block, x[row], attention), rtol=1e-4, atol=1e-5)


def test_padding_is_not_seen(model):
    block = model.vision.transformer.blocks[-1]
    x = torch.randn(1, 5, model.vision.width)
    mask = torch.tensor([[True, True, True, False, False]])
    with torch.no_grad():
        padded, alone = (last_block(block, rows, real, "sclip") for rows, real in ((x, mask), (x[:, :3], mask[:, :3])))
    torch.testing.assert_close(padded[:, :3], alone)


def test_two_ways_to_identity_attention_agree():
    config = tiny()
    config = replace(config, vision=replace(config.vision, dense="identity_attention"))
    model, pixels = DualEncoder(config).eval(), torch.randn(2, 3, config.vision.image_size, config.vision.image_size)
    with torch.no_grad():
        trained, read = model.image_encoding(pixels).dense, dense_encoding(model, pixels, "identity").dense
    torch.testing.assert_close(trained, read, rtol=1e-4, atol=1e-5)


def test_patches_do_not_depend_on_the_portions_of_a_processor(model):
    side = model.config.vision.image_size
    pixels = torch.randn(60, 3, side, side)
    with torch.no_grad():
        together = dense_encoding(model, pixels, "clearclip").dense
        alone = dense_encoding(model, pixels[-1:], "clearclip").dense
    torch.testing.assert_close(together[-1:], alone, rtol=1e-4, atol=1e-5)


def test_a_tower_without_a_class_token_is_read_as_it_was_trained_alone():
    config = tiny()
    vision = replace(config.vision, pooling="attention", input_norm=False)
    model = DualEncoder(replace(config, vision=vision)).eval()
    pixels = torch.randn(1, 3, vision.image_size, vision.image_size)
    assert dense_encoding(model, pixels).dense is not None
    with pytest.raises(ValueError, match="Use attention='model'"):
        dense_encoding(model, pixels, "sclip")


def test_an_attention_that_is_none_lists_those_that_are(model, unchecked):
    with pytest.raises(ValueError, match="Choose among model, identity, maskclip, sclip, clearclip"):
        dense_encoding(model, torch.randn(1, 3, 32, 32), "scip")


def test_of_equal_tokens_every_attention_is_the_same(model):
    """Softmax over equal rows is a mean of equal values; SCLIP's two maps sum to 2."""
    block = model.vision.transformer.blocks[-1]
    x = torch.randn(1, 1, model.vision.width).expand(1, 4, -1)
    mask = torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(last_block(block, x, mask, "maskclip"), last_block(block, x, mask, "clearclip"))
        value = block.attention.qkv(block.norm1(x)).chunk(3, dim=-1)[2]
        twice = F.linear(2 * value, block.attention.out.weight, block.attention.out.bias)
        torch.testing.assert_close(last_block(block, x, mask, "sclip"), x + twice + block.mlp(block.norm2(x + twice)))
