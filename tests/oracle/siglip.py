"""SigLIP (arXiv:2303.15343): pictures of one size, a MAP head, texts that are read at their last place."""

import numpy as np

from . import hugging_face as hf
from .formula import of_words, pixels, weights
from .plain import cut, layer_norm, linear, tanh_gelu, unit

WIDTH, HIDDEN, VOCABULARY, CONTEXT, HEADS = 32, 40, 60, 12, 4
SHAPES = hf.siglip_shapes(WIDTH, HIDDEN, VOCABULARY, CONTEXT)
SHAPES |= {"vision_model.embeddings.patch_embedding.weight": (WIDTH, 3, 8, 8)}
_TOWER = {"hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": HEADS}
CONFIG = {
    "model_type": "siglip",
    "text_config": _TOWER | {"vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT},
    "vision_config": _TOWER | {"image_size": 32, "patch_size": 8},
}


def inputs() -> dict:
    texts = [[*of_words(f"text {n}", n, VOCABULARY), *[1] * (CONTEXT - n)] for n in (2, 11)]
    return {"pictures": [["one", 32, 32], ["two", 32, 32]], "texts": {"caption": texts}}


def outputs(given: dict) -> dict[str, np.ndarray]:
    t = weights(SHAPES)
    kernels, bias = (t[f"vision_model.embeddings.patch_embedding.{end}"] for end in ("weight", "bias"))
    images, texts = [], []
    for each in given["pictures"]:
        patches = np.array([[(kernel * patch).sum() for kernel in kernels] for patch in cut(pixels(*each), 8)])
        x = patches + bias + t["vision_model.embeddings.position_embedding.weight"]
        x, _ = hf.encoded(x, t, "vision_model", HEADS, tanh_gelu, 1e-6)
        x = layer_norm(x, t, "vision_model.post_layernorm", 1e-6)
        probe = t["vision_model.head.probe"].reshape(1, WIDTH)
        images.append(unit(hf.head(probe, x, t, "vision_model.head", HEADS, tanh_gelu, 1e-6)[0]))
    for ids in given["texts"]["caption"]:
        positions = t["text_model.embeddings.position_embedding.weight"]
        last = hf.siglip_text(ids, t, positions, HEADS, tanh_gelu)
        texts.append(unit(linear(last, t["text_model.head.weight"], t["text_model.head.bias"])[0]))
    return {
        "images": np.array(images),
        "caption": np.array(texts),
        "scale": np.exp(t["logit_scale"][0]),
        "bias": t["logit_bias"][0],
    }
