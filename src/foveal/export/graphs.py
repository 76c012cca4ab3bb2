"""The passes of a model as graphs whose steps do not depend on data: sequences are masked where the towers pack them.

The blocks, heads and projections are the model's own. What is written anew here is what a graph cannot do as the
towers do it: where a text ends, positions on a picture's own grid, and the weights of patches in a box.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..models.config import ModelConfig
from ..models.dual_encoder import DualEncoder, ImageEncoding, TextEncoding
from ..models.layers import Packing, uniform
from ..models.text import TextTower
from ..models.vision import VisionTower, patchify
from ..types import Kind, PatchedPixels

Axes = dict[int, str]


@dataclass(frozen=True)
class Graph:
    """A pass to be exported, and how to prove the export.

    Attributes:
        name: Of its file.
        module: Computes it.
        inputs: Names, and which of their axes may have any length.
        outputs: Names.
        reference: The same, from the same tensors, as the model itself computes it.
        example: Inputs at random for so many pictures or texts, the latter of this length.
        kind: Of the texts it reads. None: it takes pictures.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Axes]
    outputs: tuple[str, ...]
    reference: Callable[..., tuple[Tensor, ...]]
    example: Callable[[int, int], tuple[Tensor, ...]]
    kind: Kind | None = None


class ImageGraph(nn.Module):
    """Pictures of the model's size to embeddings."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Return one embedding per picture."""
        return self.encode(image, dense=False).embedding

    def encode(self, *pixels: Tensor, dense: bool = True) -> ImageEncoding:
        """Return everything one pass gives.

        Args:
            pixels: (B, 3, Y, X) of the model's size; or patches (B, P, D) and grids (B, 2).
            dense: Whether patches are wanted too.
        """
        vision = self.model.vision
        assert isinstance(vision, VisionTower)
        if len(pixels) == 1:
            side = vision.config.grid * vision.config.patch_size  # less where patches do not fill the square
            patched = patchify(pixels[0][:, :, :side, :side], vision.config.patch_size)
            position: Tensor = vision.position
            mask = None
        else:
            values, grid = pixels
            mask = torch.arange(values.shape[1], device=values.device) < grid.prod(dim=1, keepdim=True)
            patched = PatchedPixels(values, mask, grid)
            position = resized_positions(vision.position, grid, values.shape[1])
        x = vision.patch_embedding(patched.values) + position
        real = mask
        if vision.head is None:
            token = (vision.class_token + vision.class_position).expand(len(x), 1, -1)
            x = torch.cat([token, x], dim=1)
            real = None if mask is None else F.pad(mask, (1, 0), value=True)
        pooled, patches = vision.read(x.flatten(0, 1), masked(x, real), mask, dense=dense)
        embedding = F.normalize(self.model.image_projection(pooled), dim=-1)
        projected = None if patches is None else self.model.image_projection(patches)
        if projected is not None and mask is not None:
            projected = projected * mask[..., None]
        return ImageEncoding(embedding, projected, patched.mask, patched.grid)


class NativeGraph(ImageGraph):
    """Patches of pictures of any aspect (NaFlex) to embeddings."""

    def forward(self, values: Tensor, grid: Tensor) -> Tensor:  # type: ignore[override]
        """Return one embedding per picture."""
        return self.encode(values, grid, dense=False).embedding


class RegionGraph(ImageGraph):
    """Pictures and boxes to everything one pass gives: embeddings of pictures, of patches and of boxes."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Return one embedding per picture, per patch in reading order, per box."""
        *pixels, boxes, region_image = inputs
        image = self.encode(*pixels)
        assert image.dense is not None
        weights = box_weights(boxes, image.grid[region_image], image.dense.shape[1], self.model.config.vision.grid)
        if len(pixels) > 1:
            weights = weights * image.mask[region_image]
        regions = (weights[:, None] @ image.dense[region_image])[:, 0]
        return image.embedding, F.normalize(image.dense, dim=-1), F.normalize(regions, dim=-1)


class ImageTokenGraph(ImageGraph):
    """Pictures to token sets for late interaction."""

    def forward(self, *pixels: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the token set of each picture, and which members are real."""
        return self.model.image_set(self.encode(*pixels))


class TextGraph(nn.Module):
    """Texts of one kind to embeddings."""

    def __init__(self, model: DualEncoder, kind: Kind) -> None:
        super().__init__()
        self.model = model
        self.kind: Kind = kind

    def forward(self, text: Tensor) -> Tensor:
        """Return one embedding per text."""
        return self.read(text).embedding

    def read(self, text: Int[Tensor, "B L"]) -> TextEncoding:
        """Return everything one pass gives. Ids behind a text's end are ignored, as in the tower."""
        tower, config = self.model.text, self.model.config.text
        assert isinstance(tower, TextTower)
        assert isinstance(tower, TextTower)
        count, length = text.shape
        if config.pooling == "last":
            end = torch.full((count,), length - 1, device=text.device)
        else:
            end = (text == config.eos_id).int().argmax(dim=1)
        mask = torch.arange(length, device=text.device) <= end[:, None]
        x = tower.token_embedding.weight[text.long()] + tower.table(self.kind)[:length]
        hidden = config.pooling != "last" and not config.causal  # else no real token can see padding
        out, _ = tower.transformer(x.flatten(0, 1), masked(x, mask if hidden else None))
        x = tower.norm(out).unflatten(0, (count, length))
        pooled = x[torch.arange(count, device=text.device), end] if tower.head is None else tower.head.pool(x, mask)
        projections = self.model.text_projections
        project = projections[self.kind if self.kind in projections else "caption"]
        return TextEncoding(F.normalize(project(pooled), dim=-1), project(x) * mask[..., None], mask)


class TextTokenGraph(TextGraph):
    """Texts of one kind to token sets for late interaction."""

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the token set of each text, and which members are real."""
        return self.model.text_set(self.read(text))


def masked(x: Float[Tensor, "B T W"], mask: Bool[Tensor, "B T"] | None) -> Packing:
    """Return rows of one length as a packing. Attention is masked where a mask is given."""
    packing = uniform(x.shape[0], x.shape[1], x.device)
    return replace(packing, groups=tuple(replace(group, mask=mask) for group in packing.groups))


def resized_positions(
    table: Float[Tensor, "G W"], grid: Int[Tensor, "B 2"], patches: int
) -> Float[Tensor, "B {patches} W"]:
    """Return positions of each picture's own grid, bilinear with antialiasing, as `positions.resize_grid` gives them.

    A resized row is a mean of the table's rows, weighted by a triangle around it that is as wide as the scale.
    """
    side = round(len(table) ** 0.5)
    patch = torch.arange(patches, device=grid.device)

    def triangles(index: Tensor, cells: Tensor) -> Tensor:
        center = (torch.minimum(index, cells - 1) + 0.5)[..., None] * side / cells[..., None]
        reach = (side / cells).clamp(min=1)[..., None]
        rows = torch.arange(side, device=grid.device) + 0.5
        weight = (1 - (rows - center).abs() / reach).relu()
        return weight / weight.sum(dim=-1, keepdim=True)

    y, x = triangles(patch // grid[:, 1:], grid[:, :1]), triangles(patch % grid[:, 1:], grid[:, 1:])
    return (y[..., :, None] * x[..., None, :]).flatten(2).to(table) @ table


def box_weights(
    boxes: Float[Tensor, "R 4"], grid: Int[Tensor, "R 2"], patches: int, side: int
) -> Float[Tensor, "R {patches}"]:
    """Return how much each patch counts in each box, as `regions.pool_regions` weighs them.

    Args:
        boxes: (x0, y0, x1, y1) in fractions of their pictures.
        grid: Rows and columns of each box's picture.
        patches: Of a picture, in reading order.
        side: Of the square grid; of native pictures the number of patches bounds their sides.
    """
    most = side if side * side == patches else patches
    patch = torch.arange(patches, device=boxes.device)
    step = torch.arange(most, device=boxes.device)

    def along(ends: Tensor, cells: Tensor, index: Tensor) -> Tensor:
        """Return weights of cells along one axis; cell i has its center at i, and a sample lies between two of them."""
        start, length = ends[:, :1] * cells - 0.5, (ends[:, 1:] - ends[:, :1]) * cells
        samples = length.ceil().clamp(min=1)
        sample = (start + (step + 0.5) / samples * length).clamp(min=0)
        share = (step < samples) / samples
        overlap = (1 - (torch.minimum(sample, cells - 1)[:, None] - index[..., None]).abs()).relu()
        return (overlap * share[:, None]).sum(dim=-1)

    rows, columns = grid[:, :1], grid[:, 1:]
    return along(boxes[:, 1::2], rows, patch // columns) * along(boxes[:, ::2], columns, patch % columns)


def distinct_kinds(config: ModelConfig) -> dict[Kind, Kind]:
    """Return the kind whose graph reads each kind of text: those of equal positions and projection share one."""
    readers: dict[Kind, Kind] = {}
    for kind in get_args(Kind):
        own_table = kind == "long_caption" and config.text.long_context is not None
        readers[kind] = kind if own_table or kind in config.text.own_projection else "caption"
    return readers


def graphs(model: DualEncoder, *, native: bool) -> Iterator[Graph]:
    """Yield all passes of a model: pictures, boxes and patches, token sets, and each kind of text.

    Args:
        model: In evaluation, on the CPU.
        native: Pictures come as patches of any aspect; those of `visual` are squares still.

    Raises:
        ValueError: If positions for other aspects are interpolated in a way that no graph here knows, or a tower is
            none of foveal's transformers.
    """
    config = model.config
    foreign = {config.vision.tower, config.text.tower} - {"transformer"}
    if foreign:
        raise ValueError(f"A tower '{min(foreign)}' cannot be exported, only foveal's transformers can.")
    if native and config.vision.interpolation != "bilinear_antialias":
        raise ValueError(
            f"Pictures of any aspect with '{config.vision.interpolation}' positions cannot be exported."
            " Change the model's protocol to squash or crop."
        )
    yield from _image_graphs(model, native=native)
    for kind in dict.fromkeys(distinct_kinds(config).values()):
        yield from _text_graphs(model, kind)


def _image_graphs(model: DualEncoder, *, native: bool) -> Iterator[Graph]:
    vision = model.config.vision

    def square(count: int, _: int) -> tuple[Tensor, ...]:
        return (torch.randn(count, 3, vision.image_size, vision.image_size),)

    def free(count: int, _: int) -> tuple[Tensor, ...]:
        grid = torch.randint(2, 2 * vision.grid, (count, 2))
        longest = int(grid.prod(dim=1).max())
        return torch.randn(count, longest, 3 * vision.patch_size**2), grid

    def pixels(inputs: tuple[Tensor, ...]) -> Tensor | PatchedPixels:
        if len(inputs) == 1:
            side = vision.grid * vision.patch_size
            return inputs[0][:, :, :side, :side]
        values, grid = inputs
        return PatchedPixels(values, torch.arange(values.shape[1]) < grid.prod(dim=1, keepdim=True), grid)

    def with_boxes(count: int, length: int) -> tuple[Tensor, ...]:
        corners = torch.rand(2 * count + 1, 2, 2).sort(dim=1).values
        corners[:, 1] = corners[:, 1].clamp(min=0.05)
        corners[:, 0] = torch.minimum(corners[:, 0], corners[:, 1] - 0.05)
        return *example(count, length), corners.flatten(1), torch.randint(count, (2 * count + 1,))

    def regions(*inputs: Tensor) -> tuple[Tensor, ...]:
        *image_inputs, boxes, owner = inputs
        whole = pixels(tuple(image_inputs))
        patches = model.encode_patches(whole)[0]
        return model.encode_images(whole), patches, model.encode_regions(whole, boxes, owner)

    def embedding(*inputs: Tensor) -> tuple[Tensor, ...]:
        return (model.encode_images(pixels(inputs)),)

    axes: dict[str, Axes] = {"image": {0: "batch"}}
    yield Graph("visual", ImageGraph(model), axes, ("embedding",), embedding, square)
    example = square
    if native:
        axes, example = {"values": {0: "batch", 1: "patches"}, "grid": {0: "batch"}}, free
        yield Graph("image", NativeGraph(model), axes, ("embedding",), embedding, free)
    boxed = axes | {"boxes": {0: "regions"}, "region_image": {0: "regions"}}
    yield Graph("regions", RegionGraph(model), boxed, ("embedding", "patches", "regions"), regions, with_boxes)
    sets = ("tokens", "token_mask")
    yield Graph(
        "image_tokens", ImageTokenGraph(model), axes, sets, lambda *x: model.encode_image_tokens(pixels(x)), example
    )


def _text_graphs(model: DualEncoder, kind: Kind) -> Iterator[Graph]:
    config = model.config.text

    def texts(count: int, length: int) -> tuple[Tensor, ...]:
        """Return texts of all lengths up to this one, with random ids or padding behind their ends."""
        length = min(length, config.length(kind))
        ids = torch.randint(config.vocabulary, (count, length))
        ids[ids == config.eos_id] = (config.eos_id + 1) % config.vocabulary
        for row, end in enumerate([length, *torch.randint(2, length + 1, (count - 1,)).tolist()]):
            ids[row, end - 1] = config.eos_id
        return (ids.int(),)

    axes: dict[str, Axes] = {"text": {0: "batch", 1: "length"}}
    yield Graph(
        "textual" if kind == "caption" else kind,
        TextGraph(model, kind),
        axes,
        ("embedding",),
        lambda ids: (model.encode_texts(ids.long(), kind),),
        texts,
        kind,
    )
    yield Graph(
        f"{kind}_tokens",
        TextTokenGraph(model, kind),
        axes,
        ("tokens", "token_mask"),
        lambda ids: model.encode_text_tokens(ids.long(), kind),
        texts,
        kind,
    )
