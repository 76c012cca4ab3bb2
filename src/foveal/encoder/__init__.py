"""Encoder: pictures and strings in, embeddings out. It ties a model, its tokenizer and its image transform together."""

from .encoder import Encoder
from .encodings import EncodedImages, EncodedTexts
from .pictures import Picture
from .protocol import Protocol

__all__ = ["EncodedImages", "EncodedTexts", "Encoder", "Picture", "Protocol"]
