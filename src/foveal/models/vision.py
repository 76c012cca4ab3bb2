"""The image tower: CLIP's and SigLIP 2's vision transformers in one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..types import PatchedPixels
from .config import VisionConfig
from .layers import AttentionHead, Packing, Transformer, uniform
from .positions import grid_positions, resize_grid


@dataclass(frozen=True)
class VisionFeatures:
    """Features of images, in the tower's own width.

    Attributes:
        pooled: Of the whole image.
        patches: Dense features in reading order, zero where padded. None if they were not asked for.
        mask: True where a patch is real.
        grid: Rows and columns of patches of each image.
        taps: Patches as they come out of chosen blocks, before the last normalization.
    """

    pooled: Float[Tensor, "B W"]
    patches: Float[Tensor, "B P W"] | None
    mask: Bool[Tensor, "B P"]
    grid: Int[Tensor, "B 2"]
    taps: tuple[Float[Tensor, "B P W"], ...] = ()


def patchify(pixels: Float[Tensor, "B 3 Y X"], size: int) -> PatchedPixels:
    """Cut images of one size into square patches.

    Raises:
        ValueError: If these are no images of three colors, or their sides are no multiple of the patch.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ValueError(f"Pixels have shape {tuple(pixels.shape)}. Give (images, 3 colors, rows, columns).")
    batch, _, height, width = pixels.shape
    if height % size or width % size or not height or not width:
        raise ValueError(f"Image of {height}x{width} pixels cannot be cut into {size}x{size} patches. Resize it.")
    rows, columns = height // size, width // size
    cut = pixels.reshape(batch, 3, rows, size, columns, size).permute(0, 2, 4, 3, 5, 1)
    return PatchedPixels(
        values=cut.reshape(batch, rows * columns, size * size * 3),
        mask=torch.ones(batch, rows * columns, dtype=torch.bool, device=pixels.device),
        grid=torch.tensor([[rows, columns]], device=pixels.device).expand(batch, 2),
    )


def _tight(patched: PatchedPixels) -> PatchedPixels:
    """Return the same patches without columns that are padding for every image.

    Raises:
        ValueError: If values, mask and grid do not belong together.
    """
    if patched.values.shape[:2] != patched.mask.shape or len(patched.grid) != len(patched.mask):
        shapes = (tuple(part.shape) for part in (patched.values, patched.mask, patched.grid))
        raise ValueError("Patches of shape {}, mask {} and grid {} do not fit together.".format(*shapes))
    if not torch.equal(patched.mask.sum(dim=1), patched.grid.prod(dim=1)):
        raise ValueError("A grid has another number of patches than its mask has real ones. Give rows and columns.")
    longest = int(patched.grid.prod(dim=1).max()) if len(patched.grid) else 0
    return PatchedPixels(patched.values[:, :longest], patched.mask[:, :longest], patched.grid)


class VisionTower(nn.Module):
    """A vision transformer over images of one size, or over patches of images of any size (NaFlex).

    One pass gives the pooled feature and the dense features; how the latter are read is `config.dense`.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.patch_embedding = nn.Linear(3 * config.patch_size**2, width, bias=config.patch_bias)
        self.position = nn.Parameter(torch.randn(config.grid**2, width) * width**-0.5)
        if config.pooling == "class":
            self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
            self.class_position = nn.Parameter(torch.randn(width) * width**-0.5)
        self.input_norm = nn.LayerNorm(width, config.norm_eps) if config.input_norm else nn.Identity()
        self.transformer = Transformer(config)
        self.norm = nn.LayerNorm(width, config.norm_eps)
        self.head = AttentionHead(config, probe=True) if config.pooling == "attention" else None
        self.dense_head = AttentionHead(config, probe=False) if config.dense == "attention_head" else None

    @property
    def width(self) -> int:
        """Width of the features."""
        return self.config.width

    def forward(
        self, pixels: Float[Tensor, "B 3 Y X"] | PatchedPixels, *, dense: bool = True, taps: Sequence[int] = ()
    ) -> VisionFeatures:
        """Return features of each image.

        Args:
            pixels: Images of one size, whose sides are multiples of the patch, or patches.
            dense: Whether patch features are wanted too.
            taps: Blocks whose output is wanted too, the first is 0. Where `config.dense` is "identity_attention" the
                last block's is the one without attention, as F-ViT (arXiv:2310.01403) has it.

        Raises:
            ValueError: If the images cannot be cut into patches, the patches are not of this model's size, or there is
                no such block.
        """
        x, packing, patched, mask = self._start(pixels)
        if not taps:
            return VisionFeatures(*self.read(x, packing, mask, dense=dense), patched.mask, patched.grid)
        pooled, patches, tapped = self._read_tapped(x, packing, mask, taps)
        return VisionFeatures(pooled, patches, patched.mask, patched.grid, tapped)

    def _start(
        self, pixels: Float[Tensor, "B 3 Y X"] | PatchedPixels
    ) -> tuple[Float[Tensor, "T W"], Packing, PatchedPixels, Bool[Tensor, "B P"] | None]:
        """Return embedded patches, where each image's lie, the patches themselves, and which are real, if not all."""
        if isinstance(pixels, PatchedPixels):
            patched = _tight(pixels)
            whole = bool(patched.mask.all())
        else:
            patched, whole = patchify(pixels, self.config.patch_size), True
        if patched.values.shape[2] != self.patch_embedding.in_features:
            raise ValueError(
                f"Patches hold {patched.values.shape[2]} numbers, this model's hold {self.patch_embedding.in_features}."
                f" Cut pictures into {self.config.patch_size}x{self.config.patch_size} patches."
            )
        return *self._embed(patched, whole=whole), patched, None if whole else patched.mask

    def read(
        self, x: Float[Tensor, "T W"], packing: Packing, mask: Bool[Tensor, "B P"] | None, *, dense: bool
    ) -> tuple[Float[Tensor, "B W"], Float[Tensor, "B P W"] | None]:
        """Return features of embedded patches: the pooled one of each image, and the dense ones if they are wanted.

        Args:
            x: Patches with their positions, each image's class token before its own.
            packing: Where each image's lie.
            mask: True where a patch is real. None: all are.
            dense: Whether patch features are wanted too.
        """
        x = self.input_norm(x)
        if self.config.pooling == "class" and not dense:
            return self.norm(self.transformer.edges(x, packing, last=False)), None
        out, before = self.transformer(x, packing)
        return self._features(out, before, packing, mask, dense=dense)

    def _read_tapped(
        self, x: Tensor, packing: Packing, mask: Tensor | None, taps: Sequence[int]
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
        """Return what `read` does, and the patches as they come out of chosen blocks."""
        last = self.config.layers - 1
        if not all(0 <= tap <= last for tap in taps):
            raise ValueError(f"taps are {tuple(taps)}. The blocks of this tower go from 0 to {last}.")
        out, before, *tapped = self.transformer.outputs(self.input_norm(x), packing, (last, last - 1, *taps))
        if self.config.dense == "identity_attention" and last in taps:
            without = self._last_block_without_attention(before)
            tapped = [without if tap == last else flat for tap, flat in zip(taps, tapped, strict=True)]
        first = 1 if self.config.pooling == "class" else 0
        maps = tuple(self._unpack(flat, packing)[:, first:] for flat in tapped)
        return *self._features(out, before, packing, mask, dense=True), maps

    def before_last(
        self, pixels: Float[Tensor, "B 3 Y X"] | PatchedPixels
    ) -> tuple[Float[Tensor, "B T W"], Bool[Tensor, "B P"], Int[Tensor, "B 2"]]:
        """Return the last block's input, class tokens included, which patches are real, and each image's grid.

        Raises:
            ValueError: As `forward`.
        """
        x, packing, patched, _ = self._start(pixels)
        (before,) = self.transformer.outputs(self.input_norm(x), packing, (self.config.layers - 2,))
        return self._unpack(before, packing), patched.mask, patched.grid

    def _features(
        self, out: Tensor, before: Tensor, packing: Packing, mask: Tensor | None, *, dense: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return pooled and dense features of the last block's output and input."""
        if self.config.pooling == "class":
            return self.norm(out.index_select(0, packing.starts)), self._dense(out, before, packing)
        out = self._unpack(self.norm(out), packing)
        assert self.head is not None
        return self.head.pool(out, mask), self._dense_siglip(out, before, packing, mask) if dense else None

    def _embed(self, patched: PatchedPixels, *, whole: bool) -> tuple[Float[Tensor, "T W"], Packing]:
        """Return flat tokens with their positions, class tokens included, and where each image's lie."""
        count = len(patched.mask)
        interpolation = self.config.interpolation
        tokens = self.patch_embedding(patched.values)  # (B, P, W)
        token = (self.class_token + self.class_position).to(tokens) if self.head is None else None
        if whole and bool((patched.grid == patched.grid[:1]).all()):
            rows, columns = (int(side) for side in patched.grid[0]) if count else (0, 0)
            tokens = tokens + resize_grid(self.position, rows, columns, interpolation)
            if token is not None:
                tokens = torch.cat([token.expand(count, 1, -1), tokens], dim=1)
            return tokens.flatten(0, 1), uniform(count, tokens.shape[1], tokens.device)
        tables = grid_positions(self.position, patched.grid, interpolation)
        extra = [] if token is None else [token[None]]
        images = [torch.cat([*extra, row[: len(table)] + table]) for row, table in zip(tokens, tables, strict=True)]
        packing = Packing.of([len(image) for image in images], tokens.device)
        return torch.cat([images[row] for row in packing.order.tolist()]), packing

    def _dense(self, out: Tensor, before: Tensor, packing: Packing) -> Float[Tensor, "B P W"]:
        if self.config.dense == "identity_attention":
            out = self._last_block_without_attention(before)
        return self._unpack(self.norm(out), packing)[:, 1:]

    def _dense_siglip(
        self, normed: Tensor, before: Tensor, packing: Packing, mask: Tensor | None
    ) -> Float[Tensor, "B P W"]:
        if self.dense_head is not None:
            dense: Tensor = self.dense_head(normed, mask)
            return dense if mask is None else dense * mask[..., None]
        if self.config.dense == "identity_attention":
            return self._unpack(self.norm(self._last_block_without_attention(before)), packing)
        if self.config.dense == "value_path" and self.head is not None:
            values: Tensor = self.head.value_path(normed)
            return values if mask is None else values * mask[..., None]
        return normed

    def _last_block_without_attention(self, x: Tensor) -> Tensor:
        last = self.transformer.blocks[-1]
        return last.without_attention(x)  # type: ignore[operator]

    def _unpack(self, flat: Float[Tensor, "T W"], packing: Packing) -> Float[Tensor, "B _P W"]:
        if len(packing.groups) == 1 and packing.groups[0].slots is None:
            group = packing.groups[0]
            return flat.unflatten(0, (group.count, group.length))
        return packing.pad(flat)[0]
