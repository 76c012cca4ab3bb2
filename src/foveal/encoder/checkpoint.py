"""A checkpoint on this machine: its family, and how its pictures and texts must be prepared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.images import CLIP_MEAN, CLIP_STD, SIGLIP_MEAN, SIGLIP_STD, Resample
from ..data.tokenizer import FILE as TOKENIZER
from ..data.tokenizer import Tokenizer, is_clips, padding_id
from ..models import weights
from ..models.config import ModelConfig, TextConfig
from ..models.dual_encoder import DualEncoder
from ..models.layouts import SIGLIP_VOCABULARY, family
from ..models.parts import TRUSTED_MODULES
from ..outside import read_object
from .hub import repository_of
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
_PAPER_PREPARATION = (
    "fg_clip",
    "fg_clip2",
)  # their papers prepare pictures otherwise than the file beside their weights says
_RESAMPLE: dict[int, Resample] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_CLIP_VOCABULARY = 49408
CARD = "README.md"
_FRONT_MATTER = 1 << 16  # characters of a card that are read


@dataclass(frozen=True)
class Checkpoint:
    """A model with its tokenizer and protocol.

    Attributes:
        model: On the CPU.
        tokenizer: Of its texts.
        protocol: How it was trained.
    """

    model: DualEncoder
    tokenizer: Tokenizer
    protocol: Protocol


def read(path: Path, parts_from: Sequence[str] = TRUSTED_MODULES) -> Checkpoint:
    """Return a checkpoint of any family that foveal knows.

    Args:
        path: A folder of foveal, `transformers` or open_clip, or a file of weights. A file with its config beside it is
            read as its folder is; OpenAI's CLIP, Long-CLIP and FineLIP need none. Folders of foveal without a protocol
            are read as foveal first wrote them: squashed pictures, CLIP's normalization mean and std.
        parts_from: Modules whose learned parts may be opened, with all below them.

    Raises:
        ValueError: If nothing is there, or a file or tensor is missing, broken or unknown, or the tokenizer ends texts
            otherwise than the model. The message names it.
    """
    stored = weights.read(path, parts_from)
    protocol = _protocol(path, stored)
    config = _with_padding_id(stored)
    tokenizer = _tokenizer(stored.folder, config.text, protocol)
    if tokenizer is None:
        raise ValueError(f"{path} holds no tokenizer.json, and this model's is not CLIP's. Put it there.")
    if config.text.pooling == "first_eos" and tokenizer.eos_id != config.text.eos_id:
        raise ValueError(
            f"{path}: its tokenizer ends texts with id {tokenizer.eos_id}, its model reads them at id"
            f" {config.text.eos_id}. Take the tokenizer.json and config.json that were published together."
        )
    with weights.named(path):
        return Checkpoint(weights.build(config, stored.state), tokenizer, protocol)


def protocol_of(path: Path) -> Protocol:
    """Return how pictures and texts of a checkpoint were prepared.

    Args:
        path: As for `read`.

    Raises:
        ValueError: As `read`, but for the numbers in the tensors.
    """
    folder = weights.folder_of(path)
    protocol = Protocol.read(folder) if folder else None
    return protocol or _protocol(path, weights.read(path))


def tokenizer_of(path: Path, text: TextConfig, protocol: Protocol) -> Tokenizer | None:
    """Return the tokenizer of a checkpoint: CLIP's own for its kin, whose files hold the same, else the folder's.

    Args:
        path: As for `read`.
        text: Of the model.
        protocol: Of the checkpoint.

    Returns:
        None if the folder should hold one and does not.
    """
    return _tokenizer(weights.folder_of(path), text, protocol)


def _tokenizer(folder: Path | None, text: TextConfig, protocol: Protocol) -> Tokenizer | None:
    file = folder / TOKENIZER if folder else None
    file = file if file and file.is_file() else None
    if folder and _is_foveal(folder):
        clip = file is None
    else:
        clip = text.vocabulary == _CLIP_VOCABULARY and text.pooling != "last"
        clip = clip and (file is None or protocol.cleaning == "ftfy" or is_clips(file))
    if clip:
        return Tokenizer.clip(protocol.cleaning)
    if file is None:
        return None
    return Tokenizer.open(
        file,
        lower=protocol.lower_case,
        pad_to_length=text.pooling == "last",
        pad_id=text.pad_id,
        drop_punctuation=protocol.drop_punctuation,
    )


def origin_of(path: Path) -> dict[str, Any]:
    """Return where a checkpoint's weights come from: fields source, revision, licence and training of a protocol.

    Of a snapshot in the hub's cache, source and revision are the repository's.

    Args:
        path: As for `read`.
    """
    folder = weights.folder_of(path)
    if folder is None:
        return {"source": path.name}
    stated = {"licence": licence_of(folder / CARD), "training": datasets_of(folder / CARD)}
    protocol = Protocol.read(folder)
    if protocol is not None:
        known = {name: getattr(protocol, name) for name in ("source", "revision", "licence", "training")}
    else:
        known = {"source": folder.name, **stated}
    repository = repository_of(folder)
    if repository is None:
        return known
    source, revision = repository
    return known | {name: known[name] or stated[name] for name in stated} | {"source": source, "revision": revision}


def licence_of(card: Path) -> str:
    """Return the licence that a model card names in its front matter. Empty if it names none, or there is no card."""
    match = re.search(r"^license:\s*['\"]?([\w.+-]+)", _front_matter(card), re.MULTILINE)
    return match[1] if match else ""


def datasets_of(card: Path) -> tuple[str, ...]:
    """Return the data sets that a model card names in its front matter. Empty if it names none, or there is no card."""
    match = re.search(r"^datasets:[ \t]*(.*(?:\n[ \t]*-[ \t].*)*)", _front_matter(card), re.MULTILINE)
    names = re.findall(r"[\w./+-]*\w[\w./+-]*", match[1]) if match else []
    return tuple(name.lstrip("-") for name in names)


def _front_matter(card: Path) -> str:
    """The lines between the first two of three dashes, where a card begins with them."""
    if not card.is_file():
        return ""
    with card.open(encoding="utf-8", errors="replace") as file:
        front = re.match(r"---\n(.*?)\n---", file.read(_FRONT_MATTER), re.DOTALL)
    return front[1] if front else ""


def _is_foveal(folder: Path) -> bool:
    """True if foveal wrote this folder."""
    config = folder / weights.CONFIG
    return (folder / PROTOCOL).is_file() or (config.is_file() and "vision" in read_object(config))


def _with_padding_id(stored: weights.Stored) -> ModelConfig:
    """Return the config with the padding id, which a public checkpoint's tokenizer may hold and its config not."""
    config, folder = stored.config, stored.folder
    if stored.source == "foveal" or folder is None or not (folder / TOKENIZER).is_file():
        return config
    pad_id = padding_id(folder)
    return config if pad_id is None else replace(config, text=replace(config.text, pad_id=pad_id))


def _protocol(path: Path, stored: weights.Stored) -> Protocol:
    protocol = Protocol.read(stored.folder) if stored.folder else None
    if protocol is not None:
        return protocol
    if stored.source == "foveal":
        return Protocol(family=family(stored.config))
    try:
        return _public_protocol(path, stored)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} prepares pictures in a way that is unknown here ({error!r}). Correct it.") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _public_protocol(path: Path, stored: weights.Stored) -> Protocol:
    """Return the protocol of a public checkpoint: its family's, with the fields for images that its files hold."""
    config, folder, name = stored.config, stored.folder, family(stored.config)
    if name not in FAMILIES:
        raise ValueError("It mixes parts of several families; how its pictures were prepared is unknown.")
    protocol = replace(FAMILIES[name], **origin_of(path))
    if folder is None:
        return protocol
    if stored.source == "transformers" and config.text.pooling != "last":
        protocol = replace(protocol, cleaning="nfc")
    if name == "siglip" and config.text.vocabulary == SIGLIP_VOCABULARY:
        protocol = replace(protocol, drop_punctuation=True)
    if name in _PAPER_PREPARATION:
        return protocol
    return replace(protocol, **_image_fields(folder, stored.source, naflex=protocol.resize == "naflex"))


def _image_fields(folder: Path, source: weights.Source, *, naflex: bool) -> dict[str, Any]:
    """Return the protocol's fields for images that the files of `transformers` or open_clip hold."""
    if source == "open_clip":
        hub, plain = folder / weights.OPEN_CLIP, folder / weights.CONFIG
        return _open_clip_fields(read_object(hub if hub.is_file() else plain).get("preprocess_cfg", {}))
    preprocessor, processor = folder / "preprocessor_config.json", folder / "processor_config.json"
    if preprocessor.is_file():
        return _transformers_fields(read_object(preprocessor), naflex=naflex)
    if processor.is_file() and "image_processor" in (values := read_object(processor)):
        return _transformers_fields(values["image_processor"], naflex=naflex)
    return {"crop_rounding": "floor"} if source == "transformers" else {}


def _transformers_fields(values: Mapping[str, Any], *, naflex: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"crop_rounding": "floor"} | _normalization(values, "image_mean", "image_std")
    if values.get("do_normalize") is False:
        fields |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    if "resample" in values:
        fields["resample"] = _RESAMPLE[values["resample"]]
    if naflex:
        return fields | ({"max_patches": values["max_num_patches"]} if "max_num_patches" in values else {})
    cropped = values.get("do_center_crop")
    return fields if cropped is None else fields | {"resize": "crop" if cropped else "squash"}


def _open_clip_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    way = values.get("resize_mode", "shortest")
    filtering = values.get("interpolation", "bicubic")
    if way not in ("shortest", "squash") or filtering not in ("bicubic", "bilinear"):
        raise ValueError(
            f"open_clip's resize_mode '{way}' with '{filtering}' is not known here. Known: shortest, squash."
        )
    normalization = {"mean": CLIP_MEAN, "std": CLIP_STD} | _normalization(values, "mean", "std")
    resize = "crop" if way == "shortest" else "squash"
    return {"resize": resize, "resample": filtering, "crop_rounding": "half_even", **normalization}


def _normalization(values: Mapping[str, Any], mean: str, std: str) -> dict[str, Any]:
    pairs = (("mean", mean), ("std", std))
    return {field: _triple(values[key]) for field, key in pairs if values.get(key) is not None}


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
