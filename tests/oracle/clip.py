"""OpenAI's CLIP (arXiv:2103.00020): QuickGELU, heads of 64, a file without a config."""

import numpy as np

from . import openai
from .formula import pixels, token_ids, weights
from .openai import END, START
from .plain import unit

SHAPES = openai.shapes(vision=128, text=64, hidden=48, embed=24, context=77)
NUMBERS = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}  # beside the weights in OpenAI's archives


def inputs() -> dict:
    texts = [[START, *token_ids(f"text {length}", length, START), END] for length in (1, 12, 75)]
    return {"pictures": [["one", 32, 32], ["two", 32, 32]], "texts": {"caption": texts}}


def outputs(given: dict) -> dict[str, np.ndarray]:
    t = weights(SHAPES)
    positions = t["positional_embedding"]
    padded = [[*ids, *[0] * (77 - len(ids))] for ids in given["texts"]["caption"]]
    return {
        "images": np.array([unit(openai.image_tokens(pixels(*each), t, heads=2)[0]) for each in given["pictures"]]),
        "caption": np.array([openai.pooled(openai.text_tokens(ids, t, positions, heads=1), ids) for ids in padded]),
        "scale": np.exp(t["logit_scale"]),
    }
