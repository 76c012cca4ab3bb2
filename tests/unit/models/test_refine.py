"""Token refinement against one sample at a time, as the paper writes it."""

import math

import pytest
import torch

from foveal.models.config import RefineConfig
from foveal.models.refine import TokenRefiner

LENGTHS = [7, 1, 4]


def refiner(width: int = 10, slots: int = 6) -> TokenRefiner:
    module = TokenRefiner(width, RefineConfig(slots=slots, hidden_ratio=0.5)).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def rows(width: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return torch.randn(len(LENGTHS), max(LENGTHS), width, dtype=torch.float64), mask


def slow_refine(module: TokenRefiner, tokens: torch.Tensor) -> torch.Tensor:
    """One sample: LayerNorm, linear, exact GELU, linear, softmax over its tokens, sums of the raw tokens."""
    scores = []
    for token in tokens:
        centred = token - token.mean()
        normed = centred / (centred.square().mean() + 1e-5).sqrt() * module.norm.weight + module.norm.bias
        hidden = module.hidden.weight @ normed + module.hidden.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        scores.append(module.scale * (module.slots.weight @ hidden))
    slots = []
    for slot in torch.stack(scores).T:
        weights = slot.exp() / slot.exp().sum()
        slots.append(sum(weight * token for weight, token in zip(weights, tokens, strict=True)))
    return torch.stack(slots)


def test_a_scale_of_zero_gives_the_mean_of_the_real_tokens():
    module, (tokens, mask) = refiner(), rows()
    torch.nn.init.zeros_(module.scale)
    refined = module(tokens, mask)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(refined[row], tokens[row, :length].mean(dim=0).expand(6, 10))


def test_a_single_token_fills_every_slot():
    module, (tokens, _) = refiner(), rows()
    torch.testing.assert_close(module(tokens[:, :1]), tokens[:, :1].expand(3, 6, 10))


def test_parity_a_batch_matches_one_sample_at_a_time():
    module, (tokens, mask) = refiner(), rows()
    tokens.requires_grad_()
    inputs = [tokens, *module.parameters()]
    fast = module(tokens, mask)
    slow = torch.stack([slow_refine(module, tokens[row, :length]) for row, length in enumerate(LENGTHS)])
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)
    upstream = torch.randn_like(fast)
    for ours, theirs in zip(
        torch.autograd.grad(fast, inputs, upstream), torch.autograd.grad(slow, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def test_what_padding_holds_and_how_long_it_is_changes_nothing():
    module, (tokens, mask) = refiner(), rows()
    longer = torch.cat([torch.where(mask[..., None], tokens, 1e3), torch.full((3, 5, 10), -1e3).double()], dim=1)
    refined = module(longer, torch.cat([mask, torch.zeros(3, 5, dtype=torch.bool)], dim=1))
    torch.testing.assert_close(refined, module(tokens, mask), rtol=0, atol=1e-12)


def test_the_order_of_tokens_does_not_matter():
    module, (tokens, _) = refiner(), rows()
    torch.testing.assert_close(module(tokens.flip(1)), module(tokens), rtol=0, atol=1e-12)


def test_the_published_sizes_have_the_published_parameters():
    """Two refiners have 114,736 parameters for B/16 and 250,400 for L/14, with 39 dead biases each."""
    for width, total in ((512, 114_736), (768, 250_400)):
        module = TokenRefiner(width, RefineConfig())
        assert 2 * (sum(parameter.numel() for parameter in module.parameters()) + 39) == total


def test_autocast_stays_close_to_full_precision():
    module, (tokens, mask) = refiner().float(), rows()
    torch.nn.init.constant_(module.scale, 0.1)  # scores of order one
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close = module(tokens.float(), mask)
    torch.testing.assert_close(close.float(), module(tokens.float(), mask), rtol=0.05, atol=0.05)


def test_a_row_without_tokens_is_refused_by_number():
    module, (tokens, mask) = refiner(), rows()
    mask[1] = False
    with pytest.raises(ValueError, match="Row 1 has no real token"):
        module(tokens, mask)
