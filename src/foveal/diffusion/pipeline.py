"""Pipelines of diffusers with our text encoders: longer prompts, and the embeddings of prompts."""

import logging
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor

from ..encoder.encoder import Encoder
from ..types import Kind
from .text_encoder import ZERO, stretched, text_encoder, text_tokenizer

Pipeline = Any
"""A pipeline of diffusers. Its parts are attributes that it gets when it is built."""
Layer = Literal["penultimate", "final-normed"]
Padding = Literal["pipeline", "zero"]

_log = logging.getLogger(__name__)


def lengthen(
    pipeline: Pipeline, encoder: Encoder, kind: Kind = "long_caption", *, pad: Padding = "pipeline"
) -> tuple[str, ...]:
    """Put our text encoder into a pipeline, which then reads prompts of our length.

    SD-1.x: its encoder and tokenizer. SDXL and SD3: the first, of CLIP-L's width; the second is stretched to the same
    length without training (`text_encoder.stretched`), as its lengths must be equal. Flux: the pooled embedding alone
    comes from CLIP-L. T5 stays as it is. Device and precision stay too.

    Args:
        pipeline: Is changed.
        encoder: Of a model whose towers are CLIP's.
        kind: Whose positions the tower has.
        pad: What fills prompts up: as each replaced tokenizer does, or id 0 everywhere (Long-CLIP, FineLIP).

    Returns:
        What was changed, by the pipeline's names.

    Raises:
        ValueError: If the pipeline has no text encoder of CLIP, widths differ, or its second encoder cannot be
            stretched to our length. The message has the numbers.
    """
    places = clip_places(pipeline)
    if not places:
        raise ValueError(f"{type(pipeline).__name__} has no text encoder of CLIP, so nothing of it can be replaced.")
    length = encoder.model.config.text.length(kind)
    changes: dict[str, Any] = {}
    for suffix in places:
        old, tokenizer = getattr(pipeline, f"text_encoder{suffix}"), getattr(pipeline, f"tokenizer{suffix}")
        if suffix:
            changes[f"text_encoder{suffix}"] = _of_length(old, length)
            changes[f"tokenizer{suffix}"] = deepcopy(tokenizer)
            changes[f"tokenizer{suffix}"].model_max_length = length
        else:
            changes["text_encoder"] = _fitting(encoder, old, kind)
            changes["tokenizer"] = text_tokenizer(encoder, kind)
        changes[f"tokenizer{suffix}"].pad_token = ZERO if pad == "zero" else tokenizer.pad_token
    pipeline.register_modules(**changes)
    if hasattr(pipeline, "tokenizer_max_length"):
        pipeline.tokenizer_max_length = length
    if "" in places and not _reads_words(pipeline):
        _log.warning(
            "%s takes one vector of a prompt from CLIP; its words come from T5, which stays as it is.",
            type(pipeline).__name__,
        )
    return tuple(changes)


def clip_places(pipeline: Pipeline) -> list[str]:
    """Return which text encoders of a pipeline are CLIP's: "" for `text_encoder`, "_2" for `text_encoder_2`."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return [
        suffix
        for suffix in ("", "_2", "_3")
        if isinstance(getattr(pipeline, f"text_encoder{suffix}", None), CLIPTextModel | CLIPTextModelWithProjection)
    ]


@torch.no_grad()
def prompt_embeddings(
    pipeline: Pipeline,
    prompts: Sequence[str],
    *,
    layer: Layer | None = None,
    negative: str | None = None,
) -> dict[str, Tensor]:
    """Return the embeddings of prompts as arguments of a pipeline's call.

    SD-1.x was trained with the last layer after the final norm, SDXL with the penultimate one before it. The code of
    Long-CLIP and FineLIP takes "final-normed" for SDXL too.

    Args:
        pipeline: SD-1.x, SDXL or SDXL's refiner, lengthened or not.
        prompts: One a picture. Longer ones are cut, their end mark stays.
        layer: Which layer of the text encoders. None: the pipeline's own.
        negative: What pictures should not show. None: zeros where the pipeline says so, else the empty text.

    Returns:
        "prompt_embeds" (B, L, W), "negative_prompt_embeds", and for SDXL "pooled_prompt_embeds" (B, E) and
        "negative_pooled_prompt_embeds".

    Raises:
        ValueError: If the pipeline is another one.
    """
    places = clip_places(pipeline)
    if not hasattr(pipeline, "unet") or not places:
        raise ValueError(f"{type(pipeline).__name__} makes its embeddings in other ways. Pass it the prompts.")
    pooling = places[-1] == "_2"
    layer = layer or ("penultimate" if pooling else "final-normed")
    words, pooled = _encoded(pipeline, places, prompts, layer)
    if negative is None and pipeline.config.get("force_zeros_for_empty_prompt", False):
        none_words, none_pooled = torch.zeros_like(words), torch.zeros_like(pooled)
    else:
        none_words, none_pooled = _encoded(pipeline, places, [negative or ""] * len(prompts), layer)
    embeddings = {"prompt_embeds": words, "negative_prompt_embeds": none_words}
    if pooling:
        embeddings |= {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": none_pooled}
    return embeddings


def _encoded(pipeline: Pipeline, places: Sequence[str], prompts: Sequence[str], layer: Layer) -> tuple[Tensor, Tensor]:
    """Return the words' vectors of all encoders side by side, and the pooled one of the last."""
    words = []
    for suffix in places:
        tokenizer, model = getattr(pipeline, f"tokenizer{suffix}"), getattr(pipeline, f"text_encoder{suffix}")
        length = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}
        ids = tokenizer(list(prompts), return_tensors="pt", **length).input_ids
        output = model(ids.to(model.device), output_hidden_states=True)
        words.append(output.hidden_states[-2] if layer == "penultimate" else output.last_hidden_state)
    return torch.cat(words, dim=-1), output[0]


def _fitting(encoder: Encoder, old: Any, kind: Kind) -> Any:
    """Return our tower in place of another, where it fits."""
    config, projection = encoder.model.config, hasattr(old, "text_projection")
    widths = [("text encoder", old.config.hidden_size, config.text.width)]
    if projection:
        widths.append(("text projection", old.config.projection_dim, config.embed_width))
    for part, theirs, ours in widths:
        if theirs != ours:
            raise ValueError(
                f"The pipeline's {part} is {theirs} wide, this model's is {ours}. Take a model of the width"
                f" {theirs} (CLIP-L has 768)."
            )
    return text_encoder(encoder, kind, projection=projection).to(old.device, old.dtype)


def _of_length(model: Any, length: int) -> Any:
    """Return a pipeline's second encoder, stretched if it must be."""
    old = model.config.max_position_embeddings
    if old == length:
        return model
    longer = stretched(model)
    new = longer.config.max_position_embeddings
    if new != length:
        raise ValueError(
            f"The pipeline's second text encoder reads {old} tokens, stretched {new}, and this model reads {length}:"
            " their lengths must be equal. Take a model of one of the two lengths."
        )
    return longer


def _reads_words(pipeline: Pipeline) -> bool:
    """True if the network attends to the vectors of CLIP's words, which Flux does not."""
    return "Flux" not in type(pipeline).__name__
