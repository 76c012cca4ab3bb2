"""FineLIP (arXiv:2504.01916): Long-CLIP whose tokens are refined (ATRM) and compared one by one (CLIM)."""

import numpy as np

from . import long_clip, openai
from .formula import pixels, token_ids, weights
from .openai import END, START
from .plain import cosines, gelu, layer_norm, linear, softmax, unit

EMBED, HIDDEN, SLOTS = 32, 6, 5  # the hidden width is the whole part of a fifth of the shared one
SHAPES = openai.shapes(vision=64, text=64, hidden=48, embed=EMBED, context=248)
SHAPES |= {"positional_embedding_res": (248, 64)}
for _net in ("cross_net.aggr_net", "cross_net.cap_aggr_net"):
    SHAPES |= {f"{_net}.scale": (1, 1, 1), f"{_net}.weight.0.weight": (EMBED,), f"{_net}.weight.0.bias": (EMBED,)}
    SHAPES |= {f"{_net}.weight.1.weight": (HIDDEN, EMBED), f"{_net}.weight.1.bias": (HIDDEN,)}
    SHAPES |= {f"{_net}.weight.3.weight": (SLOTS, HIDDEN), f"{_net}.weight.3.bias": (SLOTS,)}


def refined(tokens: np.ndarray, t: dict[str, np.ndarray], net: str) -> np.ndarray:
    """Y_k = sum_n softmax_n(s (W2 GELU(W1 LN(x_n) + b1) + b2))_k x_n."""
    normed = layer_norm(tokens, t, f"{net}.weight.0", 1e-5)
    hidden = linear(normed, t[f"{net}.weight.1.weight"], t[f"{net}.weight.1.bias"])
    hidden = np.array([[gelu(value) for value in row] for row in hidden])
    scores = linear(hidden, t[f"{net}.weight.3.weight"], t[f"{net}.weight.3.bias"])
    slots = []
    for slot in range(SLOTS):
        shares = softmax(t[f"{net}.scale"].item() * scores[:, slot])
        slots.append(sum(share * token for share, token in zip(shares, tokens, strict=True)))
    return np.array(slots)


def late_interaction(text: np.ndarray, image: np.ndarray) -> float:
    """R: each token's best cosine in the other set, past a LeakyReLU of 0.1; means of both directions, added."""
    leaky = np.array([[value if value > 0 else 0.1 * value for value in row] for row in cosines(text, image)])
    return sum(max(row) for row in leaky) / len(text) + sum(max(column) for column in leaky.T) / len(image)


def inputs() -> dict:
    texts = [[START, *token_ids(f"text {length}", length, START), END] for length in (2, 30, 200)]
    return {"pictures": [["one", 32, 32], ["two", 32, 32]], "texts": {"long_caption": texts}}


def outputs(given: dict) -> dict[str, np.ndarray]:
    t = weights(SHAPES)
    images, texts = [], []
    for each in given["pictures"]:
        tokens = openai.image_tokens(pixels(*each), t, heads=1)
        images.append(np.array([unit(row) for row in [tokens[0], *refined(tokens[1:], t, "cross_net.aggr_net")]]))
    for ids in given["texts"]["long_caption"]:
        tokens = openai.text_tokens(ids, t, long_clip.positions(t), heads=1)
        slots = refined(tokens[:-1], t, "cross_net.cap_aggr_net")  # with the start mark, without the end mark
        texts.append(np.array([unit(row) for row in [*slots, tokens[-1]]]))
    return {
        "images": np.array([each[0] for each in images]),
        "long_caption": np.array([each[-1] for each in texts]),
        "image_tokens": np.array(images),
        "text_tokens": np.array(texts),
        "late_interaction": np.array([[late_interaction(text, image) for image in images] for text in texts]),
        "scale": np.exp(t["logit_scale"]),
    }
