"""Pictures and strings in, embeddings out: a model, its tokenizer and its way with pictures, tied together."""

from .encoder import Encoder
from .encodings import EncodedImages, EncodedTexts
from .pictures import Picture
from .protocol import Protocol

__all__ = ["EncodedImages", "EncodedTexts", "Encoder", "Picture", "Protocol"]
