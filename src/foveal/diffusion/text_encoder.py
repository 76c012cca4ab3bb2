"""Text encoders of pipelines: our towers, and those of others stretched, as models of `transformers`."""

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from ..data import tokenizer_files
from ..encoder.encoder import Encoder
from ..models.positions import stretch_positions
from ..models.publish import hf_clip
from ..types import Kind
from ..writing import new_place

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    TextModel = CLIPTextModel | CLIPTextModelWithProjection

Pad = Literal["end", "zero"]
ZERO = "!"
"""The token with id 0 of CLIP's vocabulary."""


def text_encoder(encoder: Encoder, kind: Kind = "long_caption", *, projection: bool = False) -> "TextModel":
    """Return the text tower as `CLIPTextModel` of `transformers`, in float32 on the CPU.

    Args:
        encoder: Of a model whose towers are CLIP's: CLIP, Long-CLIP, FineLIP, FG-CLIP, foveal's own.
        kind: Whose positions and projection it has, where kinds of text differ (FG-CLIP).
        projection: Give `CLIPTextModelWithProjection`, which SD3 and SDXL's second place have.

    Raises:
        ValueError: If the towers are not CLIP's.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    published = hf_clip(encoder.model, kind)
    kind_of_model: Any = CLIPTextModelWithProjection if projection else CLIPTextModel
    model = kind_of_model(CLIPTextConfig(**published.config["text_config"])).eval()
    prefix = "text_model."
    tower = {name.removeprefix(prefix): value for name, value in published.tensors.items() if name.startswith(prefix)}
    _inner(model).load_state_dict(tower)
    if projection:
        model.text_projection.load_state_dict({"weight": published.tensors["text_projection.weight"]})
    return model


def text_tokenizer(encoder: Encoder, kind: Kind = "long_caption", pad: Pad = "end") -> "CLIPTokenizer":
    """Return the tokenizer as `CLIPTokenizer` of `transformers`, which cuts texts at the tower's length.

    Args:
        encoder: As for `text_encoder`.
        kind: Whose length it has.
        pad: What fills a text up, which the pictures depend on as cross-attention sees all places: "end" (the end
            mark, as the UNets of SD-1.x and of SDXL's first place know it) or "zero" (id 0, as the code of Long-CLIP
            and FineLIP has it).
    """
    from transformers import CLIPTokenizer

    with TemporaryDirectory() as folder:
        tokenizer_files.write(encoder.tokenizer, Path(folder), encoder.model.config.text.length(kind))
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    if pad == "zero":
        tokenizer.pad_token = ZERO
    return tokenizer


def save_text_encoder(
    encoder: Encoder,
    folder: Path,
    kind: Kind = "long_caption",
    *,
    projection: bool = False,
    pad: Pad = "end",
) -> None:
    """Write the folders `text_encoder` and `tokenizer` as a pipeline of diffusers has them, all or nothing.

    Args:
        encoder: As for `text_encoder`, like the arguments below.
        folder: Not there, or empty.
        kind: Whose positions the tower has.
        projection: Keep the projection too.
        pad: What fills a text up, see `text_tokenizer`.

    Raises:
        ValueError: If the towers are not CLIP's, or the folder is in use.
    """
    with new_place(folder) as partial:
        text_encoder(encoder, kind, projection=projection).save_pretrained(partial / "text_encoder")
        text_tokenizer(encoder, kind, pad).save_pretrained(partial / "tokenizer")


def stretched(model: "TextModel", *, keep: int = 20, ratio: int = 4) -> "TextModel":
    """Return a text model for longer texts, untrained, as Long-CLIP and FineLIP do with SDXL's second encoder.

    The table of positions is stretched (`models.positions.stretch_positions`), 77 places become 248. All other weights
    are shared with the model. A text of up to `keep` tokens is encoded as before.

    Args:
        model: Any CLIP text model of `transformers`.
        keep: First places that stay as they are.
        ratio: How many places each other one becomes.

    Raises:
        ValueError: If there is nothing to stretch beyond the kept places.
    """
    shared = {id(parameter): parameter for parameter in model.parameters()}
    longer = deepcopy(model, shared)
    embeddings = _inner(longer).embeddings
    table = stretch_positions(embeddings.position_embedding.weight.detach(), keep, ratio)
    embeddings.position_embedding = nn.Embedding.from_pretrained(table, freeze=False)
    embeddings.position_ids = torch.arange(len(table), device=table.device)[None]
    longer.config.max_position_embeddings = len(table)
    return longer


def _inner(model: Any) -> Any:
    """Return the tower of a text model, which holds it by itself if it has a projection."""
    return getattr(model, "text_model", model)
