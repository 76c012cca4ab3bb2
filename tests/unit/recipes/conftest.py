"""A small random output that the objectives of all recipes are tried on."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.types import Output, TextEmbeddings

DOUBLE = torch.float64
REGIONS = ("phrase", "negative")


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=DOUBLE), dim=-1)


@pytest.fixture
def output():
    """Five images with four regions, two with the same phrase; hard negatives of three regions and two images."""
    scales = (torch.tensor(value, dtype=DOUBLE) for value in (4.0, 5.0, 6.0, -2.0))
    scale, region_scale, negative_scale, bias = scales
    return Output(
        image=unit(5, 8),
        scale=scale,
        region_scale=region_scale,
        negative_scale=negative_scale,
        bias=bias,
        texts={
            "caption": TextEmbeddings(
                unit(5, 8),
                torch.arange(5),
                tokens=unit(5, 3, 8),
                token_mask=torch.arange(3) < torch.tensor([3, 2, 1, 3, 2])[:, None],
            ),
            "long_caption": TextEmbeddings(
                unit(5, 8),
                torch.arange(5),
                tokens=unit(5, 6, 8),
                token_mask=torch.arange(6) < torch.tensor([6, 3, 4, 1, 2])[:, None],
            ),
            "phrase": TextEmbeddings(unit(4, 8), torch.arange(4), "region", torch.tensor([7, 8, 7, 9])),
            "negative": TextEmbeddings(unit(5, 8), torch.tensor([0, 0, 1, 3, 3]), "region"),
            "caption_negative": TextEmbeddings(
                unit(3, 8),
                torch.tensor([1, 1, 3]),
                tokens=unit(3, 4, 8),
                token_mask=torch.arange(4) < torch.tensor([4, 2, 3])[:, None],
            ),
        },
        image_tokens=unit(5, 4, 8),
        image_token_mask=torch.ones(5, 4, dtype=torch.bool),
        regions=unit(4, 8),
        region_image=torch.tensor([0, 0, 2, 4]),
    )


@pytest.fixture
def without():
    """Gives an output without a field, a group of texts ("caption") or what a group has ("caption.tokens")."""
    return _without


def _without(output, name):
    group, _, field = name.partition(".")
    if group not in output.texts:
        return replace(output, **{name: None})
    rest = {key: texts for key, texts in output.texts.items() if key != group}
    return replace(output, texts=rest | ({group: replace(output.texts[group], **{field: None})} if field else {}))


def first_rows(texts, count):
    """The first rows of a group of texts."""
    members = {name: value[:count] for name, value in vars(texts).items() if torch.is_tensor(value)}
    return replace(texts, **members)


@pytest.fixture
def without_regions(output):
    """The same where regions were not asked for."""
    for name in (*REGIONS, "regions", "region_image"):
        output = _without(output, name)
    return output


@pytest.fixture
def without_rows(output):
    """The same where regions and hard negatives were asked for and the batch has none."""
    empty = {name: first_rows(output.texts[name], 0) for name in (*REGIONS, "caption_negative")}
    regions, owner = output.regions[:0], output.region_image[:0]
    return replace(output, texts={**output.texts, **empty}, regions=regions, region_image=owner)


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
    """Cross entropy of each anchor's positive among its own hard negatives, a loop over anchors that have any."""

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
