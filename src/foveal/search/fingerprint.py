"""Recognizing the model that an index was made with."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..encoder import Encoder


def probe(encoder: Encoder) -> list[list[float]]:
    """Return embeddings of a fixed text and a fixed image, by which a model is recognized."""
    return [[round(value, 5) for value in row.tolist()] for row in (_of_text(encoder), _of_image(encoder))]


def same_model(encoder: Encoder, embeddings: Sequence[Sequence[float]]) -> bool:
    """True if a model gives the embeddings of `probe`, up to coarse arithmetic."""
    return reads_alike(encoder, embeddings) and looks_alike(encoder, embeddings)


def reads_alike(encoder: Encoder, embeddings: Sequence[Sequence[float]]) -> bool:
    """True if a model gives the embedding of `probe` for the text.

    A model of which this is true finds by texts what the index's own model finds, whatever its picture tower is.
    """
    return _near(_of_text(encoder), embeddings[0])


def looks_alike(encoder: Encoder, embeddings: Sequence[Sequence[float]]) -> bool:
    """True if a model gives the embedding of `probe` for the image."""
    return _near(_of_image(encoder), embeddings[1])


def _of_text(encoder: Encoder) -> Float[Tensor, " E"]:
    return encoder.encode_texts(["two brown dogs on a red sofa"])[0]


def _of_image(encoder: Encoder) -> Float[Tensor, " E"]:
    return encoder.encode_images([Image.radial_gradient("L").resize((64, 48)).convert("RGB")])[0]


def _near(current: Float[Tensor, " _E"], recorded: Sequence[float]) -> bool:
    if len(current) != len(recorded):
        return False
    return float(F.cosine_similarity(current, torch.tensor(recorded), dim=0)) > 0.99
