"""The towers under the names of `transformers`, which SigLIP, SigLIP 2, FG-CLIP and FG-CLIP 2 were published in."""

from collections.abc import Callable

import numpy as np

from .plain import Tensors, attention, layer_norm, linear, mlp

Activation = Callable[[float], float]
Shapes = dict[str, tuple[int, ...]]
PARTS = ("q_proj", "k_proj", "v_proj", "out_proj")


def _both(name: str, out: int, width: int) -> Shapes:
    return {f"{name}.weight": (out, width), f"{name}.bias": (out,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def block_shapes(tower: str, width: int, hidden: int, layers: int = 2) -> Shapes:
    """Of all blocks of a tower."""
    tensors: Shapes = {}
    for layer in range(layers):
        name = f"{tower}.encoder.layers.{layer}"
        for part in PARTS:
            tensors |= _both(f"{name}.self_attn.{part}", width, width)
        tensors |= _norm(f"{name}.layer_norm1", width) | _norm(f"{name}.layer_norm2", width)
        tensors |= _both(f"{name}.mlp.fc1", hidden, width) | _both(f"{name}.mlp.fc2", width, hidden)
    return tensors


def head_shapes(name: str, width: int, hidden: int) -> Shapes:
    """Of a MAP head."""
    return {
        f"{name}.probe": (1, 1, width),
        f"{name}.attention.in_proj_weight": (3 * width, width),
        f"{name}.attention.in_proj_bias": (3 * width,),
        **_both(f"{name}.attention.out_proj", width, width),
        **_norm(f"{name}.layernorm", width),
        **_both(f"{name}.mlp.fc1", hidden, width),
        **_both(f"{name}.mlp.fc2", width, hidden),
    }


def siglip_shapes(width: int, hidden: int, vocabulary: int, context: int) -> Shapes:
    """What SigLIP and its successors have in common: all but the patch embedding."""
    return {
        "logit_scale": (1,),
        "logit_bias": (1,),
        "text_model.embeddings.token_embedding.weight": (vocabulary, width),
        "text_model.embeddings.position_embedding.weight": (context, width),
        **block_shapes("text_model", width, hidden),
        **_norm("text_model.final_layer_norm", width),
        **_both("text_model.head", width, width),
        "vision_model.embeddings.patch_embedding.bias": (width,),
        "vision_model.embeddings.position_embedding.weight": (16, width),
        **block_shapes("vision_model", width, hidden),
        **_norm("vision_model.post_layernorm", width),
        **head_shapes("vision_model.head", width, hidden),
    }


def block(
    x: np.ndarray, t: Tensors, name: str, heads: int, activation: Activation, eps: float, *, causal: bool = False
) -> np.ndarray:
    """x + attention(LN(x)), then y + MLP(LN(y))."""
    normed = layer_norm(x, t, f"{name}.layer_norm1", eps)
    query, key, value = (projected(normed, t, name, part) for part in PARTS[:3])
    x = x + projected(attention(query, key, value, heads, causal=causal), t, name, "out_proj")
    return x + mlp(layer_norm(x, t, f"{name}.layer_norm2", eps), t, f"{name}.mlp.fc1", f"{name}.mlp.fc2", activation)


def projected(x: np.ndarray, t: Tensors, name: str, part: str) -> np.ndarray:
    """One of the four linear maps of a block's attention."""
    return linear(x, t[f"{name}.self_attn.{part}.weight"], t[f"{name}.self_attn.{part}.bias"])


def encoded(
    x: np.ndarray, t: Tensors, tower: str, heads: int, activation: Activation, eps: float, *, causal: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """What comes out of the second of two blocks, and what went into it."""
    before = block(x, t, f"{tower}.encoder.layers.0", heads, activation, eps, causal=causal)
    return block(before, t, f"{tower}.encoder.layers.1", heads, activation, eps, causal=causal), before


def head(
    query: np.ndarray, x: np.ndarray, t: Tensors, name: str, heads: int, activation: Activation, eps: float
) -> np.ndarray:
    """SigLIP's MAP head: o = attention of the queries over x; o + MLP(LN(o)). The residual is o, not the query."""
    weights, biases = (np.split(t[f"{name}.attention.in_proj_{end}"], 3) for end in ("weight", "bias"))
    q, k, v = (linear(each, *pair) for each, *pair in zip((query, x, x), weights, biases, strict=True))
    mixed = attention(q, k, v, heads, causal=False)
    out = linear(mixed, t[f"{name}.attention.out_proj.weight"], t[f"{name}.attention.out_proj.bias"])
    normed = layer_norm(out, t, f"{name}.layernorm", eps)
    return out + mlp(normed, t, f"{name}.mlp.fc1", f"{name}.mlp.fc2", activation)


def siglip_text(ids: list[int], t: Tensors, positions: np.ndarray, heads: int, activation: Activation) -> np.ndarray:
    """The last place of a text that fills all places, past the final norm; every token sees every other."""
    x = t["text_model.embeddings.token_embedding.weight"][ids] + positions
    x, _ = encoded(x, t, "text_model", heads, activation, 1e-6)
    return layer_norm(x, t, "text_model.final_layer_norm", 1e-6)[-1:]
