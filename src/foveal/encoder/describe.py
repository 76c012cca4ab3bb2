"""Description of a model in a dozen lines."""

from typing import get_args

from torch import nn

from ..models.config import TowerConfig
from ..outside import printable
from ..types import Kind
from .encoder import Encoder


def describe(encoder: Encoder) -> str:
    """Family, origin, licence, sizes, and how pictures and texts are prepared: a line each, its name before it."""
    model, protocol = encoder.model, encoder.protocol
    config = model.config
    parameters = list(model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    kinds = {kind: config.text.length(kind) for kind in get_args(Kind)}
    heads = ", ".join(("caption", *config.text.own_projection))
    extras = f"token sets {config.tokens}" + (f" to {config.refine.slots} slots" if config.refine else "")
    lines = {
        "family": protocol.family,
        "source": " at ".join(part for part in (protocol.source, protocol.revision) if part) or "unknown",
        "licence": protocol.licence or "unknown",
        "parameters": f"{total:,} in {len(parameters)} tensors ({_types(model)}): pictures {_count(model, 'vision.')},"
        f" texts {_count(model, 'text.')}",
        "space": f"{config.embed_width} wide, scale {model.log_scale.exp().item():.4g}"
        + (f", bias {model.bias.item():.4g}" if config.bias else "")
        + f", {extras}",
        "pictures": _pictures(encoder),
        "picture tower": f"{_tower(config.vision)}, patches of {config.vision.patch_size} pixels,"
        f" regions by {config.vision.dense}",
        "text tower": _tower(config.text),
        "text lengths": ", ".join(f"{kind} {length}" for kind, length in kinds.items()),
        "text heads": heads,
        "tokenizer": _tokenizer(encoder),
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {printable(value)}" for name, value in lines.items())


def _types(model: nn.Module) -> str:
    return ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()}))


def _count(module: nn.Module, part: str) -> str:
    sizes = (parameter.numel() for name, parameter in module.named_parameters() if name.startswith(part))
    return f"{sum(sizes) / 1e6:.1f} M"


def _tower(tower: TowerConfig) -> str:
    return f"{tower.layers} layers of {tower.width}, {tower.heads} heads, {tower.activation}, pooled by {tower.pooling}"


def _pictures(encoder: Encoder) -> str:
    protocol, size = encoder.protocol, encoder.image_size
    fitted = {
        "squash": f"squashed to {size} x {size} pixels",
        "crop": f"scaled, the middle {size} x {size} pixels cut out",
        "naflex": f"any aspect, up to {protocol.max_patches} patches",
    }[protocol.resize]
    if protocol.buckets and protocol.resize == "naflex":
        fitted += f" ({', '.join(map(str, protocol.buckets))})"
    mean, std = (" ".join(f"{value:.4g}" for value in triple) for triple in (protocol.mean, protocol.std))
    return f"{fitted}, {protocol.resample}, mean {mean}, std {std}"


def _tokenizer(encoder: Encoder) -> str:
    tokenizer = encoder.tokenizer
    name = "CLIP's" if tokenizer.path is None else str(tokenizer.path)
    marks = {"lower case": tokenizer.lower, "without punctuation": tokenizer.drop_punctuation}
    marks |= {"texts cleaned as transformers does": tokenizer.cleaning == "nfc"}
    marks |= {f"padded to the full length with {tokenizer.pad_id}": tokenizer.pad_to_length}
    return ", ".join([f"{name}, {tokenizer.vocabulary:,} ids", *(mark for mark, true in marks.items() if true)])
