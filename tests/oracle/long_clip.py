"""Long-CLIP (arXiv:2403.15378): CLIP with 248 positions, of which two tables hold the first 20 and the rest."""

import numpy as np

from . import openai
from .formula import pixels, token_ids, weights
from .openai import END, START
from .plain import unit

SHAPES = openai.shapes(vision=64, text=64, hidden=48, embed=24, context=248) | {"positional_embedding_res": (248, 64)}


def positions(t: dict[str, np.ndarray]) -> np.ndarray:
    """What is added to each token: places below 20 read the first table, the others the second."""
    first, second = t["positional_embedding"], t["positional_embedding_res"]
    return np.array([first[place] if place < 20 else second[place] for place in range(248)])


def inputs() -> dict:
    texts = [[START, *token_ids(f"text {length}", length, START), END] for length in (5, 40, 246)]
    return {"pictures": [["one", 32, 32], ["two", 32, 32]], "texts": {"caption": texts[:1], "long_caption": texts}}


def outputs(given: dict) -> dict[str, np.ndarray]:
    t = weights(SHAPES)
    images = [unit(openai.image_tokens(pixels(*each), t, heads=1)[0]) for each in given["pictures"]]
    found = {"images": np.array(images), "scale": np.exp(t["logit_scale"])}
    for kind, texts in given["texts"].items():
        padded = [[*ids, *[0] * (248 - len(ids))] for ids in texts]
        rows = [openai.pooled(openai.text_tokens(ids, t, positions(t), heads=1), ids) for ids in padded]
        found[kind] = np.array(rows)
    return found
