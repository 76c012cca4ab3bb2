"""FG-CLIP 2 (arXiv:2510.10921): SigLIP 2 with a dense head, and a table and heads per kind of text."""

import numpy as np

from . import hugging_face as hf
from . import siglip2
from .formula import of_words, pixels, weights
from .plain import linear, roi_mean, tanh_gelu, unit
from .siglip2 import HEADS, HIDDEN, PATCH, VOCABULARY, WIDTH

SHORT, LONG = 24, 36  # 20 + 4 * (24 - 20), as 64 become 196
SHAPES = hf.siglip_shapes(WIDTH, HIDDEN, VOCABULARY, SHORT)
SHAPES |= {
    "vision_model.embeddings.patch_embedding.weight": (WIDTH, 3 * PATCH**2),
    "text_model.embeddings.position_embedding_res.weight": (LONG, WIDTH),
    "text_model.embeddings.position_embedding_ori.weight": (LONG, WIDTH),
    **hf.head_shapes("dense_feature_head", WIDTH, HIDDEN),
}
for _head in ("longtext_head", "boxtext_head"):
    SHAPES |= {f"{_head}.weight": (WIDTH, WIDTH), f"{_head}.bias": (WIDTH,)}
CONFIG = {
    "model_type": "fgclip2",
    "text_config": siglip2.CONFIG["text_config"] | {"max_position_embeddings": SHORT},
    "vision_config": siglip2.CONFIG["vision_config"],
}
TEXT_HEADS = {"caption": "text_model.head", "long_caption": "longtext_head", "phrase": "boxtext_head"}


def text(ids: list[int], kind: str, t: dict[str, np.ndarray]) -> np.ndarray:
    """A text's embedding: the table and the head of its kind."""
    positions = t["text_model.embeddings.position_embedding.weight"]
    if kind == "long_caption":
        kept, rest = (t[f"text_model.embeddings.position_embedding_{end}.weight"] for end in ("ori", "res"))
        positions = np.array([kept[place] if place < 20 else rest[place] for place in range(LONG)])
    last = hf.siglip_text(ids, t, positions, HEADS, tanh_gelu)
    return unit(linear(last, t[f"{TEXT_HEADS[kind]}.weight"], t[f"{TEXT_HEADS[kind]}.bias"])[0])


def inputs() -> dict:
    def filled(words: int, length: int) -> list[int]:
        return [*of_words(f"text {words}", words, VOCABULARY), 1, *[0] * (length - 1 - words)]

    return {
        "pictures": [["wide", 12, 28], ["high", 24, 8]],
        "texts": {
            "caption": [filled(3, SHORT), filled(23, SHORT)],
            "long_caption": [filled(3, LONG), filled(35, LONG)],
            "phrase": [filled(3, SHORT)],
        },
        "boxes": [[[0.0, 0.0, 1.0, 1.0], [0.15, 0.1, 0.5, 0.95]], [[0.2, 0.4, 0.9, 0.45], [0.0, 0.0, 0.5, 1.0]]],
    }


def outputs(given: dict) -> dict[str, np.ndarray]:
    t = weights(SHAPES)
    images, patches, regions = [], [], []
    for (name, height, width), boxes in zip(given["pictures"], given["boxes"], strict=True):
        x = siglip2.patch_features(pixels(name, height, width), t)
        images.append(siglip2.image(x, t))
        dense = hf.head(x, x, t, "dense_feature_head", HEADS, tanh_gelu, 1e-6)
        patches += [unit(row) for row in dense]
        grid = dense.reshape(height // PATCH, width // PATCH, WIDTH)
        regions += [unit(roi_mean(grid, box)) for box in boxes]
    found = {kind: np.array([text(ids, kind, t) for ids in texts]) for kind, texts in given["texts"].items()}
    return found | {
        "images": np.array(images),
        "patches": np.array(patches),
        "regions": np.array(regions),
        "scale": np.exp(t["logit_scale"][0]),
        "bias": t["logit_bias"][0],
    }
