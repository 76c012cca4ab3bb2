"""Conversion to another layout, or to a richer architecture, of model, protocol and tokenizer together."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save_file

from ..data import tokenizer_files
from ..data.images import CLIP_MEAN, CLIP_STD
from ..models import sizes, weights
from ..models.config import ModelConfig
from ..models.layouts import family
from ..models.publish import LAYOUTS, Published
from ..models.upgrade import upgrade
from ..types import Kind
from ..writing import new_place
from .checkpoint import FAMILIES
from .encoder import Encoder

Layout = Literal["foveal", "hf-clip", "open-clip", "long-clip"]
Architecture = Literal["long", "fg_clip", "finelip", "fg_clip2"]

_ARCHITECTURES: Mapping[Architecture, Callable[[ModelConfig], ModelConfig]] = {
    "long": sizes.long_text,
    "fg_clip": sizes.fg_clip,
    "finelip": sizes.finelip,
    "fg_clip2": sizes.fg_clip2,
}
_RESAMPLE = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers


def convert(encoder: Encoder, out: Path, layout: Layout, kind: Kind = "caption") -> tuple[str, ...]:
    """Write a model in another layout, all or nothing.

    Numbers are kept bit for bit in the precision they are loaded in, which is float32 for public checkpoints. What a
    layout stores and never reads is made again, see `models.publish`: a checkpoint that comes back to its own layout
    is equal in all that is read.

    Args:
        encoder: Of the model.
        out: A folder that is not there or empty; for "long-clip" a file that is not there, by name *.pt.
        layout: "foveal"; "hf-clip" (`CLIPModel` of `transformers`, also read as its `CLIPTextModel`,
            `CLIPVisionModel` and those with projection); "open-clip"; "long-clip" (the state dictionary of Long-CLIP,
            and of FineLIP where tokens are refined).
        kind: Whose positions and projection the text tower gets, where kinds of text differ (FG-CLIP). "foveal" has
            all of them.

    Returns:
        What the layout has no place for, by name. Empty for "foveal".

    Raises:
        ValueError: If the layout cannot hold such a model or its protocol, or `out` is in use.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"There is no layout '{layout}'. There are: {', '.join(get_args(Layout))}.")
    with new_place(out) as partial:
        published = None if layout == "foveal" else LAYOUTS[layout](encoder.model, kind)
        _check(encoder, layout, out)
        if published is None:
            encoder.save(partial)
        else:
            _WRITERS[layout](encoder, published, partial)
    return () if published is None else (*published.left_out, *_unsupported_fields(encoder, layout))


def upgraded(encoder: Encoder, to: Architecture, seed: int = 0) -> Encoder:
    """Return the encoder of a richer model that starts from this one's weights, ready to be trained.

    Position tables are stretched as in Long-CLIP (arXiv:2403.15378), the first 20 positions kept: a text of up to 20
    tokens and any picture has the embedding it had. New heads start as copies, as FG-CLIP (arXiv:2505.05071) and
    FG-CLIP 2 (arXiv:2510.10921) do it, FineLIP's token refinement (arXiv:2504.01916) at random. Pictures are prepared
    as the new family prepares them.

    Args:
        encoder: Of a CLIP; of a SigLIP 2 for "fg_clip2".
        to: "long" (Long-CLIP), "fg_clip", "finelip" or "fg_clip2".
        seed: Of the parts that start at random.

    Raises:
        ValueError: If there is no such architecture, the model is stretched already, or its towers are others.
    """
    if to not in _ARCHITECTURES:
        raise ValueError(f"There is no architecture '{to}'. There are: {', '.join(_ARCHITECTURES)}.")
    old = encoder.model.config
    if old.text.kept_positions or old.text.long_context:
        longest = old.text.long_context or old.text.context
        raise ValueError(f"This model reads {longest} tokens already. Upgrade the one that it was made from.")
    if old.vision.pooling != ("attention" if to == "fg_clip2" else "class"):
        raise ValueError(f"'{to}' is made of a {'SigLIP 2' if to == 'fg_clip2' else 'CLIP'}, and this is none.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = upgrade(encoder.model, _ARCHITECTURES[to](old)).eval().to(encoder.device)
    name = family(model.config)
    target = FAMILIES.get(name, encoder.protocol)
    preparation: dict[str, Any] = {
        "resize": target.resize,
        "max_patches": target.max_patches,
        "buckets": target.buckets,
    }
    protocol = replace(encoder.protocol, family=name, **preparation)
    return Encoder(model, encoder.tokenizer, protocol.transform(model.config.vision), protocol=protocol)


def _check(encoder: Encoder, layout: Layout, out: Path) -> None:
    """Refuse a protocol that a layout cannot express."""
    if layout == "foveal":
        return
    if encoder.protocol.resize == "naflex":
        raise ValueError(f"Layout {layout} is for square pictures, and this model sees any aspect. Convert to foveal.")
    if layout != "hf-clip" and encoder.tokenizer.path is not None:
        raise ValueError(f"Layout {layout} is for CLIP's tokenizer, and this model has its own. Convert to hf-clip.")
    if layout == "long-clip" and out.suffix != ".pt":
        raise ValueError(f"Layout long-clip is one file. Name it {out.name}.pt, not {out.name}.")


def _write_hf_clip(encoder: Encoder, published: Published, folder: Path) -> None:
    protocol, size = encoder.protocol, encoder.image_size
    square = {"height": size, "width": size}
    pictures = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size} if protocol.resize == "crop" else square,
        "do_center_crop": protocol.resize == "crop",
        "crop_size": square,
        "resample": _RESAMPLE[protocol.resample],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": protocol.mean,
        "image_std": protocol.std,
        "do_convert_rgb": True,
    }
    tokenizer_files.write(encoder.tokenizer, folder, published.config["text_config"]["max_position_embeddings"])
    _write_json(folder / "preprocessor_config.json", pictures)
    _write_json(folder / weights.CONFIG, published.config)
    save_file(published.tensors, folder / weights.WEIGHTS, metadata={"format": "pt"})


def _write_open_clip(encoder: Encoder, published: Published, folder: Path) -> None:
    protocol = encoder.protocol
    pictures = {
        "mean": protocol.mean,
        "std": protocol.std,
        "interpolation": protocol.resample,
        "resize_mode": "shortest" if protocol.resize == "crop" else "squash",
    }
    folder.mkdir()
    _write_json(folder / weights.OPEN_CLIP, {"model_cfg": published.config, "preprocess_cfg": pictures})
    save_file(published.tensors, folder / "open_clip_model.safetensors", metadata={"format": "pt"})


def _write_long_clip(_: Encoder, published: Published, file: Path) -> None:
    torch.save(published.tensors, file)


_WRITERS = {"hf-clip": _write_hf_clip, "open-clip": _write_open_clip, "long-clip": _write_long_clip}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _unsupported_fields(encoder: Encoder, layout: Layout) -> tuple[str, ...]:
    """Return the protocol's fields that a layout doesn't hold and its readers' own code sets otherwise."""
    protocol = encoder.protocol
    assumed: dict[str, Any] = {}
    if layout == "long-clip":
        assumed = {"resize": "crop", "resample": "bicubic", "mean": CLIP_MEAN, "std": CLIP_STD}
    if protocol.resize == "crop":
        assumed["crop_rounding"] = "floor" if layout == "hf-clip" else "half_even"
    if encoder.tokenizer.path is None:
        assumed["cleaning"] = "nfc" if layout == "hf-clip" else "ftfy"
    return tuple(
        f"protocol.{name}={getattr(protocol, name)}"
        for name, value in assumed.items()
        if getattr(protocol, name) != value
    )
