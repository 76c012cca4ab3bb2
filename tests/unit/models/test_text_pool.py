from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foveal.encoder import EncodedImages, EncodedTexts
from foveal.models.sizes import tiny
from foveal.models.text_pool import TextPool, TextPoolModule, pool_by_texts

WIDTH = 16
FLAIR = TextPool(heads=4)
BETA = TextPool(heads=4, norms=False, zero_key=False, mlp_ratio=4, initial_scale=1 / 0.07)


@pytest.fixture(params=[FLAIR, BETA, replace(BETA, zero_key=True)], ids=["flair", "beta", "both"])
def part(request):
    return request.param


@pytest.fixture
def module(part):
    module = TextPoolModule(part, WIDTH)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module


def slow(part, module, text, patches):
    """One text and the real patches of one image, by torch's own attention and norms."""
    attention = nn.MultiheadAttention(WIDTH, part.heads, add_zero_attn=part.zero_key, batch_first=True)
    attention.in_proj_weight.data = module.qkv.data.reshape(3 * WIDTH, WIDTH)
    attention.in_proj_bias.data = module.qkv_bias.data.reshape(-1)
    attention.out_proj.weight.data, attention.out_proj.bias.data = module.out.data, module.out_bias.data
    inputs = [text[None, None], patches[None], patches[None]]
    if part.norms:
        norms = zip(inputs, module.norms, module.norm_biases, strict=True)
        inputs = [F.layer_norm(x, (WIDTH,), weight, bias) for x, weight, bias in norms]
    pooled = attention(*inputs)[0][0, 0]
    if part.mlp_ratio:
        hidden = module.fc1 @ F.layer_norm(pooled, (WIDTH,), module.mlp_norm, module.mlp_norm_bias) + module.fc1_bias
        pooled = pooled + module.fc2 @ (hidden * torch.sigmoid(1.702 * hidden)) + module.fc2_bias
    return pooled / pooled.norm()


def test_parity_each_text_pools_as_torchs_attention_does_from_real_patches_alone(part, module):
    texts, patches = torch.randn(3, 5, WIDTH), torch.randn(3, 7, WIDTH)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    pooled = pool_by_texts(module(), texts, patches, mask)
    for image in range(3):
        for text in range(5):
            expected = slow(part, module, texts[image, text], patches[image][mask[image]])
            torch.testing.assert_close(pooled[image, text], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pool_by_texts(module(), texts[:1], patches[:1]), pooled[:1])


def test_the_score_is_the_cosine_of_a_text_and_what_it_pooled_for_any_block(module):
    texts = EncodedTexts(F.normalize(torch.randn(4, WIDTH), dim=-1))
    mask = torch.arange(6) < torch.tensor([[6], [2], [5]])
    images = EncodedImages(torch.zeros(3, WIDTH), tokens=torch.randn(3, 6, WIDTH), token_mask=mask)
    scores = module.score(texts, images)
    for text in range(4):
        for image in range(3):
            pooled = pool_by_texts(
                module(), texts.embedding[None, text, None], images.tokens[None, image], mask[None, image]
            )
            torch.testing.assert_close(scores[text, image], pooled[0, 0] @ texts.embedding[text])
    torch.testing.assert_close(replace(module.score, budget=1)(texts, images), scores)


def test_the_weights_that_it_gives_carry_gradients_to_its_parameters(module):
    weights = module()
    sum(weight.sum() for weight in weights.values()).backward()
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in module.parameters())
    assert not any(weights[name] is parameter for name, parameter in module.named_parameters())


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=f"5 heads do not divide embed_width {tiny().embed_width}"):
        TextPool(heads=5).build(tiny())
