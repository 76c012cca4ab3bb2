"""A small random output that the objectives of all recipes are tried on."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.types import Output

DOUBLE = torch.float64
REGIONS = ("regions", "region_image", "phrases", "phrase_key", "negatives", "negative_region")
CAPTION_NEGATIVES = tuple(f"caption_negative{rest}" for rest in ("s", "_image", "_tokens", "_token_mask"))


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=DOUBLE), dim=-1)


@pytest.fixture
def output():
    """Five images with four regions, two of them with the same phrase; near misses of three regions and two images."""
    scales = (torch.tensor(value, dtype=DOUBLE) for value in (4.0, 5.0, 6.0, -2.0))
    scale, region_scale, negative_scale, bias = scales
    text_mask = torch.arange(6) < torch.tensor([6, 3, 4, 1, 2])[:, None]
    return Output(
        image=unit(5, 8),
        scale=scale,
        region_scale=region_scale,
        negative_scale=negative_scale,
        bias=bias,
        caption=unit(5, 8),
        long_caption=unit(5, 8),
        image_tokens=unit(5, 4, 8),
        image_token_mask=torch.ones(5, 4, dtype=torch.bool),
        text_tokens=unit(5, 6, 8),
        text_token_mask=text_mask,
        regions=unit(4, 8),
        region_image=torch.tensor([0, 0, 2, 4]),
        phrases=unit(4, 8),
        phrase_key=torch.tensor([7, 8, 7, 9]),
        negatives=unit(5, 8),
        negative_region=torch.tensor([0, 0, 1, 3, 3]),
        caption_tokens=unit(5, 3, 8),
        caption_token_mask=torch.arange(3) < torch.tensor([3, 2, 1, 3, 2])[:, None],
        caption_negatives=unit(3, 8),
        caption_negative_image=torch.tensor([1, 1, 3]),
        caption_negative_tokens=unit(3, 4, 8),
        caption_negative_token_mask=torch.arange(4) < torch.tensor([4, 2, 3])[:, None],
    )


@pytest.fixture
def without_regions(output):
    """The same where regions were not asked for."""
    return replace(output, **dict.fromkeys(REGIONS))


@pytest.fixture
def without_rows(output):
    """The same where regions and near misses were asked for and the batch has none."""
    return replace(output, **{name: getattr(output, name)[:0] for name in (*REGIONS, *CAPTION_NEGATIVES)})


@pytest.fixture
def info_nce():
    """Symmetric cross entropy of matching rows, written out; rows of one key are no negatives of one another."""

    def loss(left, right, scale, smoothing=0.0, keys=None):
        logits = scale * left @ right.T
        if keys is not None:
            same = (keys[:, None] == keys) & ~torch.eye(len(keys), dtype=torch.bool)
            logits = logits.masked_fill(same, -torch.inf)
        target = torch.arange(len(left))
        return sum(F.cross_entropy(one, target, label_smoothing=smoothing) for one in (logits, logits.T)) / 2

    return loss


@pytest.fixture
def near_misses():
    """Cross entropy of each anchor's positive among its own near misses, a loop over anchors that have any."""

    def loss(anchors, positives, negatives, owner, scale):
        losses = []
        for row in owner.unique().tolist():
            choices = torch.cat([positives[row : row + 1], negatives[owner == row]])
            losses.append(F.cross_entropy(scale * choices @ anchors[row], torch.tensor(0)))
        return torch.stack(losses).mean()

    return loss


@pytest.fixture
def same_terms():
    """Asserts that terms have the names and values that an equation gives, in this order."""

    def check(terms, expected):
        assert list(terms) == list(expected)
        for name, value in expected.items():
            torch.testing.assert_close(terms[name], torch.as_tensor(value, dtype=DOUBLE), rtol=0, atol=1e-10)

    return check
