"""open_clip's own towers (arXiv:2212.07143): GELU, heads of any width, a folder with its config."""

import numpy as np

from . import openai
from .formula import pixels, token_ids, weights
from .openai import END, START
from .plain import gelu, unit

SHAPES = openai.shapes(vision=48, text=32, hidden=64, embed=24, context=77)
_VISION = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8, "mlp_ratio": 4 / 3}
_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2, "mlp_ratio": 2.0}
CONFIG = {
    "model_cfg": {"embed_dim": 24, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]},
}


def inputs() -> dict:
    texts = [[START, *token_ids(f"text {length}", length, START), END] for length in (3, 20)]
    return {"pictures": [["one", 32, 32], ["two", 32, 32]], "texts": {"caption": texts}}


def outputs(given: dict) -> dict[str, np.ndarray]:
    t = weights(SHAPES)
    texts = []
    for ids in given["texts"]["caption"]:
        padded = [*ids, *[0] * (77 - len(ids))]
        texts.append(openai.pooled(openai.text_tokens(padded, t, t["positional_embedding"], 4, gelu), padded))
    images = [unit(openai.image_tokens(pixels(*each), t, 3, gelu)[0]) for each in given["pictures"]]
    return {"images": np.array(images), "caption": np.array(texts), "scale": np.exp(t["logit_scale"])}
