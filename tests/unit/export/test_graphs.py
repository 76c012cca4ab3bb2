"""Masked graphs give what the packed towers give."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from foveal.export.graphs import box_weights, distinct_kinds, graphs, resized_positions
from foveal.models.dual_encoder import DualEncoder
from foveal.models.positions import grid_positions
from foveal.models.regions import pool_regions
from foveal.models.sizes import fg_clip, fg_clip2, finelip, long_text, siglip2_b_16, tiny

TOWER = {"width": 16, "layers": 2, "heads": 2, "mlp_width": 32}


def small(config):
    """The same build, narrow, with a vocabulary of fifty."""
    text = replace(config.text, **TOWER, vocabulary=50, eos_id=1)
    return replace(
        config, vision=replace(config.vision, **TOWER, image_size=64, patch_size=16), text=text, embed_width=16
    )


def reading(config):
    """Texts that see both ways up to their end, and are pooled by a probe."""
    return replace(config, text=replace(config.text, causal=False, pooling="attention"))


def unfilled(config):
    """Patches do not fill the square."""
    return replace(config, vision=replace(config.vision, image_size=70))


MODELS = {
    "clip": (tiny, False),
    "long_clip": (lambda: long_text(tiny()), False),
    "finelip": (lambda: finelip(tiny(), slots=3), False),
    "fg_clip": (lambda: fg_clip(tiny()), False),
    "a probe for texts": (lambda: reading(tiny()), False),
    "siglip": (lambda: unfilled(siglip2_b_16()), False),
    "siglip2": (siglip2_b_16, True),
    "fg_clip2": (lambda: fg_clip2(siglip2_b_16()), True),
    "native with a class token": (
        lambda: replace(tiny(), vision=replace(tiny().vision, interpolation="bilinear_antialias")),
        True,
    ),
}


def randomized(config):
    model = DualEncoder(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_parity_every_graph_gives_what_the_model_gives(unchecked, name):
    make, native = MODELS[name]
    config = small(make())
    if name == "siglip":
        config = unfilled(config)
    found = list(graphs(randomized(config), native=native))
    kinds = set(distinct_kinds(config).values())
    pictures = {"visual", "regions", "image_tokens", *(["image"] if native else [])}
    texts = {"textual", *(kinds - {"caption"}), *(f"{kind}_tokens" for kind in kinds)}
    assert {graph.name for graph in found} == pictures | texts
    for graph in found:
        for count, length in ((1, 2), (3, 20), (2, 500)):
            inputs = graph.example(count, length)
            given = graph.module(*inputs)
            given = given if isinstance(given, tuple) else (given,)
            for mine, theirs in zip(given, graph.reference(*inputs), strict=True):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


def test_kinds_share_a_graph_where_they_share_a_tower():
    assert distinct_kinds(tiny()) == dict.fromkeys(("caption", "long_caption", "phrase"), "caption")
    assert distinct_kinds(fg_clip(tiny()))["long_caption"] == "long_caption"
    assert distinct_kinds(fg_clip2(siglip2_b_16()))["phrase"] == "phrase"


def test_parity_positions_of_any_grid_match_torchs_antialiased_ones():
    table, grid = torch.randn(36, 5), torch.tensor([[6, 6], [2, 13], [11, 3], [1, 1]])
    for given, expected, (rows, columns) in zip(
        resized_positions(table, grid, 36),
        grid_positions(table, grid, "bilinear_antialias"),
        grid.tolist(),
        strict=True,
    ):
        torch.testing.assert_close(given[: rows * columns], expected, rtol=0, atol=1e-5)
        assert given.isfinite().all()


def test_parity_weights_of_patches_in_boxes_match_the_pooling_of_regions():
    dense, grid = torch.randn(2, 42, 5), torch.tensor([[6, 7], [3, 9]])
    corners = torch.rand(60, 2, 2).sort(dim=1).values
    corners[:, 1] += 1e-3
    boxes = torch.cat([corners.flatten(1).clamp(max=1), torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.51, 0.52]])])
    owner = torch.arange(len(boxes)) % 2
    weights = box_weights(boxes, grid[owner], 42, 7) * (torch.arange(42) < grid.prod(dim=1)[owner, None])
    expected = pool_regions(dense, grid, boxes, owner)
    torch.testing.assert_close((weights[:, None] @ dense[owner])[:, 0], expected, rtol=0, atol=1e-5)


def test_what_lies_behind_the_end_of_a_text_changes_nothing(unchecked):
    model = randomized(small(reading(tiny())))
    graph = next(graph for graph in graphs(model, native=False) if graph.name == "textual")
    ids = torch.tensor([[5, 6, 1, 0, 0], [5, 6, 1, 9, 1]])
    first, second = F.normalize(graph.module(ids), dim=-1)
    torch.testing.assert_close(first, second)


def test_positions_that_no_graph_knows_are_refused_by_name(unchecked):
    with pytest.raises(ValueError, match="any aspect with 'bicubic' positions cannot be exported"):
        list(graphs(randomized(small(tiny())), native=True))


def test_towers_of_another_make_are_refused_by_name(unchecked):
    model = randomized(small(tiny()))
    model.config = replace(model.config, vision=replace(model.config.vision, tower="efficientnet_lite0"))
    with pytest.raises(ValueError, match="tower 'efficientnet_lite0' cannot be exported"):
        list(graphs(model, native=False))
