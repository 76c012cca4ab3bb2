"""SigLIP 2 (arXiv:2502.14786) with NaFlex: pictures of any aspect, positions resized to each one's grid."""

import numpy as np

from . import hugging_face as hf
from .formula import of_words, pixels, weights
from .plain import Tensors, cut, grid_positions, layer_norm, linear, tanh_gelu, unit

WIDTH, HIDDEN, VOCABULARY, CONTEXT, HEADS, PATCH = 32, 40, 60, 12, 4, 4
SHAPES = hf.siglip_shapes(WIDTH, HIDDEN, VOCABULARY, CONTEXT)
SHAPES |= {"vision_model.embeddings.patch_embedding.weight": (WIDTH, 3 * PATCH**2)}
_TOWER = {"hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": HEADS}
CONFIG = {
    "model_type": "siglip2",
    "text_config": _TOWER | {"vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT},
    "vision_config": _TOWER | {"num_patches": 16, "patch_size": PATCH},
}


def patch_features(picture: np.ndarray, t: Tensors) -> np.ndarray:
    """Features of a picture's patches, past the last norm. A patch is flat: its rows, its columns, its colors."""
    _, height, width = picture.shape
    flat = np.array([patch.transpose(1, 2, 0).flatten() for patch in cut(picture, PATCH)])
    x = linear(flat, *(t[f"vision_model.embeddings.patch_embedding.{end}"] for end in ("weight", "bias")))
    table = t["vision_model.embeddings.position_embedding.weight"]
    x = x + grid_positions(table, height // PATCH, width // PATCH)
    x, _ = hf.encoded(x, t, "vision_model", HEADS, tanh_gelu, 1e-6)
    return layer_norm(x, t, "vision_model.post_layernorm", 1e-6)


def image(features: np.ndarray, t: Tensors) -> np.ndarray:
    """A picture's embedding: what the probe gathers."""
    probe = t["vision_model.head.probe"].reshape(1, WIDTH)
    return unit(hf.head(probe, features, t, "vision_model.head", HEADS, tanh_gelu, 1e-6)[0])


def inputs() -> dict:
    texts = [[*of_words(f"text {n}", n, VOCABULARY), 1, *[0] * (CONTEXT - 1 - n)] for n in (1, 7)]
    return {"pictures": [["wide", 12, 28], ["high", 24, 8], ["square", 16, 16]], "texts": {"caption": texts}}


def outputs(given: dict) -> dict[str, np.ndarray]:
    t = weights(SHAPES)
    texts = []
    for ids in given["texts"]["caption"]:
        positions = t["text_model.embeddings.position_embedding.weight"]
        last = hf.siglip_text(ids, t, positions, HEADS, tanh_gelu)
        texts.append(unit(linear(last, t["text_model.head.weight"], t["text_model.head.bias"])[0]))
    return {
        "images": np.array([image(patch_features(pixels(*each), t), t) for each in given["pictures"]]),
        "caption": np.array(texts),
        "scale": np.exp(t["logit_scale"][0]),
        "bias": t["logit_bias"][0],
    }
