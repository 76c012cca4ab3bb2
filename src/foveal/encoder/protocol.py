"""Protocol of a checkpoint: how its pictures and texts must be prepared, which no tensor says."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..configuration import parse
from ..data.images import CLIP_MEAN, CLIP_STD, ImageTransform, Mode, Resample, Rounding, Triple
from ..data.tokenizer import Cleaning, Tokenizer
from ..models.config import VisionConfig
from ..models.weights import named
from ..outside import read_object, shown
from ..writing import replacing

Resize = Literal["squash", "crop", "naflex"]

FILE = "protocol.json"
_MOST_PATCHES = 65_536  # of a picture: a square of 4,096 pixels in patches of 16
_MODES: dict[Resize, Mode] = {"squash": "squash", "crop": "crop", "naflex": "native"}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Preparation of pictures and texts that a model was trained with. Travels with the weights as `protocol.json`.

    Image size, text lengths per kind, padding, pooling and bias stand in the model's config.

    Attributes:
        family: "clip", "long_clip", "finelip", "fg_clip", "fg_clip2", "siglip" (one size of pictures), "siglip2"
            (NaFlex), or "foveal" for what only foveal builds.
        resize: "squash" (aspect lost: FG-CLIP, SigLIP), "crop" (the square in the middle: CLIP, Long-CLIP, FineLIP) or
            "naflex" (aspect kept, any number of patches: SigLIP 2, FG-CLIP 2).
        mean: Normalization mean of the three channels, subtracted from values between 0 and 1.
        std: Normalization std of the channels, which divides them then.
        resample: Filter of the scaling.
        crop_rounding: How the middle is rounded to whole pixels ("crop"): "half_even" (torchvision: OpenAI, Long-CLIP,
            FineLIP, open_clip) or "floor" (`transformers`, and folders that foveal wrote before it had this field).
        max_patches: Most patches of a picture ("naflex").
        buckets: Numbers of patches to choose from; a picture gets the first that holds its own number (FG-CLIP 2).
            Empty: every picture gets `max_patches`.
        cleaning: What is done to texts before CLIP's own tokenizer: "ftfy" (OpenAI, Long-CLIP, FineLIP, open_clip) or
            "nfc" (checkpoints in the layout of `transformers`), see `Tokenizer`. A tokenizer.json says it itself.
        lower_case: Texts are lower-cased before the folder's tokenizer. CLIP's own does that by itself.
        drop_punctuation: Texts lose their punctuation first (SigLIP, not SigLIP 2).
        source: Where the weights came from: a hub name, or a file's name.
        revision: The commit at that place.
        licence: Of the weights, as their model card names it. Empty: unknown.
        training: Data sets that it was trained on, as its model card names them. Empty: unknown.
    """

    family: str = "foveal"
    resize: Resize = "squash"
    mean: Triple = CLIP_MEAN
    std: Triple = CLIP_STD
    resample: Resample = "bicubic"
    crop_rounding: Rounding = "floor"
    max_patches: int = 256
    buckets: tuple[int, ...] = ()
    cleaning: Cleaning = "ftfy"
    lower_case: bool = False
    drop_punctuation: bool = False
    source: str = ""
    revision: str = ""
    licence: str = ""
    training: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"mean is {shown(self.mean)}. It must be three numbers.")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"std is {shown(self.std)}. It must be three numbers above 0.")
        for name, value in (("max_patches", self.max_patches), *(("buckets", bucket) for bucket in self.buckets)):
            if type(value) is not int or not 1 <= value <= _MOST_PATCHES:
                raise ValueError(f"{name} is {shown(value)}. It must be a whole number from 1 to {_MOST_PATCHES:,}.")

    @classmethod
    def of(cls, transform: ImageTransform, tokenizer: Tokenizer, family: str = "foveal") -> "Protocol":
        """Return the protocol that a transform and a tokenizer follow."""
        resize = next(resize for resize, mode in _MODES.items() if mode == transform.mode)
        return cls(
            family=family,
            resize=resize,
            mean=transform.mean,
            std=transform.std,
            resample=transform.resample,
            crop_rounding=transform.crop_rounding,
            max_patches=transform.max_patches,
            buckets=transform.buckets,
            cleaning=tokenizer.cleaning,
            lower_case=tokenizer.lower,
            drop_punctuation=tokenizer.drop_punctuation,
        )

    @classmethod
    def read(cls, folder: Path) -> "Protocol | None":
        """Return the protocol of a model folder. None if it has none.

        Raises:
            ValueError: If the file is broken, or a field is unknown or of another type. The message names both.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        values = read_object(path)
        with named(path):
            protocol: Protocol = parse(cls, values, FILE)
        return protocol

    def write(self, folder: Path) -> None:
        """Write it into a model folder, whole or not at all."""
        with replacing(folder / FILE, durable=True) as partial:
            partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def transform(self, vision: VisionConfig) -> ImageTransform:
        """Return the transform of pictures for a model of this protocol."""
        return ImageTransform(
            size=vision.image_size,
            mode=_MODES[self.resize],
            patch_size=vision.patch_size,
            max_patches=self.max_patches,
            buckets=self.buckets,
            mean=self.mean,
            std=self.std,
            resample=self.resample,
            crop_rounding=self.crop_rounding,
            cut=vision.image_size % vision.patch_size,
        )
