"""A checkpoint on this machine: which family it is of, and how its pictures and texts must be prepared."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.images import CLIP_MEAN, CLIP_STD, SIGLIP_MEAN, SIGLIP_STD, Resample
from ..data.tokenizer import Tokenizer, padding_id
from ..models import weights
from ..models.config import ModelConfig, TextConfig
from ..models.dual_encoder import DualEncoder
from ..models.layouts import SIGLIP_VOCABULARY, family
from .protocol import FILE as PROTOCOL
from .protocol import Protocol

# What the families' published numbers were measured with.
_CLIP = Protocol(family="clip", resize="crop", crop_rounding="half_even")
_SIGLIP2 = Protocol(
    family="siglip2", resize="naflex", mean=SIGLIP_MEAN, std=SIGLIP_STD, resample="bilinear", lower_case=True
)
FAMILIES = {
    "clip": _CLIP,
    "long_clip": replace(_CLIP, family="long_clip"),
    "finelip": replace(_CLIP, family="finelip"),
    "fg_clip": Protocol(family="fg_clip", resize="squash"),
    "siglip": replace(_SIGLIP2, family="siglip", resize="squash", resample="bicubic"),
    "siglip2": _SIGLIP2,
    "fg_clip2": replace(_SIGLIP2, family="fg_clip2", max_patches=1024, buckets=(128, 256, 576, 784, 1024)),
}
_OWN_WAY = ("fg_clip", "fg_clip2")  # their papers prepare pictures otherwise than the file beside their weights says
_RESAMPLE: dict[int, Resample] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_CLIP_VOCABULARY = 49408


@dataclass(frozen=True)
class Checkpoint:
    """A model and what belongs to it.

    Attributes:
        model: On the CPU.
        tokenizer: Of its texts.
        protocol: How it was trained.
    """

    model: DualEncoder
    tokenizer: Tokenizer
    protocol: Protocol


def read(path: Path) -> Checkpoint:
    """A checkpoint of any family that foveal knows.

    Args:
        path: A folder of foveal, `transformers` or open_clip, or a file of OpenAI's CLIP, Long-CLIP or FineLIP. Folders
            of foveal without a protocol are read as foveal first wrote them: squashed pictures, CLIP's colors.

    Raises:
        ValueError: If nothing is there, or a file or tensor is missing, broken or unknown. The message names it.
    """
    tokens = not _is_own(path) and (path / "tokenizer.json").is_file()
    model = weights.load(path, pad_id=padding_id(path) if tokens else None)
    protocol = _protocol(path, model.config)
    tokenizer = tokenizer_of(path, model.config.text, protocol)
    if tokenizer is None:
        raise ValueError(f"{path} holds no tokenizer.json, and this model's is not CLIP's. Put it there.")
    return Checkpoint(model, tokenizer, protocol)


def protocol_of(path: Path) -> Protocol:
    """How pictures and texts of a checkpoint were prepared.

    Args:
        path: As for `read`.

    Raises:
        ValueError: As `read`, but for the numbers in the tensors.
    """
    known = Protocol.read(path)
    return known or _protocol(path, weights.read(path)[0])


def tokenizer_of(path: Path, text: TextConfig, protocol: Protocol) -> Tokenizer | None:
    """The tokenizer of a checkpoint: CLIP's own for its kin, whose files say the same; the folder's for all others.

    Args:
        path: As for `read`.
        text: Of the model.
        protocol: Of the checkpoint.

    Returns:
        None if the folder should hold one and does not.
    """
    own, there = _is_own(path), (path / "tokenizer.json").is_file()
    clip = text.vocabulary == _CLIP_VOCABULARY and text.pooling != "last"
    if (clip and not own) or (own and not there):
        return Tokenizer.clip()
    if not there:
        return None
    return Tokenizer.open(
        path,
        lower=protocol.lower_case,
        pad_to_length=text.pooling == "last",
        pad_id=text.pad_id,
        drop_punctuation=protocol.drop_punctuation,
    )


def licence_of(card: Path) -> str:
    """The licence that a model card names in its front matter. Empty if it names none, or there is no card."""
    if not card.is_file():
        return ""
    front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return found[1] if found else ""


def _is_own(path: Path) -> bool:
    """Whether foveal wrote this folder."""
    config = path / weights.CONFIG
    return (path / PROTOCOL).is_file() or (config.is_file() and "vision" in weights.read_json(config))


def _protocol(path: Path, config: ModelConfig) -> Protocol:
    known = Protocol.read(path)
    if known is not None:
        return known
    return Protocol(family=family(config)) if _is_own(path) else _published(path, config)


def _published(path: Path, config: ModelConfig) -> Protocol:
    """The protocol of a public checkpoint: its family's, and what its own files say of pictures."""
    name = family(config)
    if name not in FAMILIES:
        raise ValueError(f"{path} mixes parts of several families; how its pictures were prepared is unknown.")
    protocol = replace(FAMILIES[name], source=path.name, licence=licence_of(path / "README.md"))
    if name == "siglip" and config.text.vocabulary == SIGLIP_VOCABULARY:
        protocol = replace(protocol, drop_punctuation=True)
    if name in _OWN_WAY or not path.is_dir():
        return protocol
    try:
        return replace(protocol, **_pictures_of(path, naflex=protocol.resize == "naflex"))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} prepares pictures in a way that is unknown here ({error!r}). Correct it.") from error


def _pictures_of(folder: Path, *, naflex: bool) -> dict[str, Any]:
    """How the files of `transformers` or open_clip prepare pictures, as far as they say."""
    theirs, ours = folder / weights.OPEN_CLIP, folder / "preprocessor_config.json"
    whole = folder / "processor_config.json"
    if _is_open_clip(folder):
        return _open_clip_way(weights.read_json(theirs).get("preprocess_cfg", {}))
    if ours.is_file():
        return _transformers_way(weights.read_json(ours), naflex=naflex)
    if whole.is_file() and "image_processor" in (values := weights.read_json(whole)):
        return _transformers_way(values["image_processor"], naflex=naflex)
    if theirs.is_file():
        return _open_clip_way(weights.read_json(theirs).get("preprocess_cfg", {}))
    return {"crop_rounding": "floor"}  # weights of `transformers` without its file about pictures


def _is_open_clip(folder: Path) -> bool:
    """True if the weights that are read from a folder are open_clip's, whatever else it holds."""
    names = (name for name in weights.candidates(folder) if (folder / name).exists())
    return (folder / weights.OPEN_CLIP).is_file() and next(names, "").startswith("open_clip")


def _transformers_way(values: Mapping[str, Any], *, naflex: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"crop_rounding": "floor"} | _colors(values, "image_mean", "image_std")
    if values.get("do_normalize") is False:
        found |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    if "resample" in values:
        found["resample"] = _RESAMPLE[values["resample"]]
    if naflex:
        return found | ({"max_patches": values["max_num_patches"]} if "max_num_patches" in values else {})
    cropped = values.get("do_center_crop")
    return found if cropped is None else found | {"resize": "crop" if cropped else "squash"}


def _open_clip_way(values: Mapping[str, Any]) -> dict[str, Any]:
    way = values.get("resize_mode", "shortest")
    filtering = values.get("interpolation", "bicubic")
    if way not in ("shortest", "squash") or filtering not in ("bicubic", "bilinear"):
        raise ValueError(
            f"open_clip's resize_mode '{way}' with '{filtering}' is not known here. Known: shortest, squash."
        )
    colors = {"mean": CLIP_MEAN, "std": CLIP_STD} | _colors(values, "mean", "std")
    resize = "crop" if way == "shortest" else "squash"
    return {"resize": resize, "resample": filtering, "crop_rounding": "half_even", **colors}


def _colors(values: Mapping[str, Any], mean: str, std: str) -> dict[str, Any]:
    pairs = (("mean", mean), ("std", std))
    return {ours: _three(values[theirs]) for ours, theirs in pairs if values.get(theirs) is not None}


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
