"""Interfaces of a dual encoder's towers, and the towers that a config can name.

A tower is any `nn.Module` that gives one pooled feature and a feature per place: per cell of a picture's grid, per
token of a text. All of one width, which the dual encoder then projects into its space.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from ..types import Kind, PatchedPixels
from .config import TextConfig, VisionConfig
from .starter_towers import EfficientNetLite0, MiniLM
from .text import TextFeatures, TextTower
from .vision import VisionFeatures, VisionTower


@runtime_checkable
class ImageTower(Protocol):
    """Interface of an image encoder."""

    @property
    def width(self) -> int:
        """Width of the features."""

    def __call__(self, pixels: Float[Tensor, "B 3 Y X"] | PatchedPixels, *, dense: bool = True) -> VisionFeatures:
        """Return features of each picture, of its grid too where `dense` asks for it."""


@runtime_checkable
class LanguageTower(Protocol):
    """Interface of a text encoder."""

    @property
    def width(self) -> int:
        """Width of the features."""

    def ends(self, token_ids: Int[Tensor, "B L"]) -> list[int]:
        """Return length of each text up to and with its end-of-text token."""

    def __call__(self, token_ids: Int[Tensor, "B L"], kind: Kind = "caption", *, tokens: bool = True) -> TextFeatures:
        """Return features of each text, padded on the right with anything; of its tokens too if `tokens`."""


def image_tower(config: VisionConfig) -> ImageTower:
    """Build the image encoder that a config names.

    Raises:
        ValueError: If the config says that it is somebody's own.
    """
    if config.tower == "efficientnet_lite0":
        return EfficientNetLite0(config)
    if config.tower == "own":
        raise ValueError("config.vision.tower is 'own'. Give the tower: DualEncoder(config, image=...).")
    return VisionTower(config)


def language_tower(config: TextConfig) -> LanguageTower:
    """Build the text encoder that a config names.

    Raises:
        ValueError: If the config says that it is somebody's own.
    """
    if config.tower == "minilm":
        return MiniLM(config)
    if config.tower == "own":
        raise ValueError("config.text.tower is 'own'. Give the tower: DualEncoder(config, language=...).")
    return TextTower(config)
