"""The two towers under OpenAI's names: CLIP (arXiv:2103.00020), and all whose files follow its release."""

from collections.abc import Callable

import numpy as np

from .plain import Tensors, attention, cut, layer_norm, linear, mlp, quick_gelu, unit

Activation = Callable[[float], float]
Shapes = dict[str, tuple[int, ...]]
EPS = 1e-5
START, END = 49406, 49407


def shapes(*, vision: int, text: int, hidden: int, embed: int, context: int, layers: int = 2) -> Shapes:
    """Names and shapes of a model's tensors: pictures of 32 pixels in patches of 8, CLIP's vocabulary."""
    tensors: Shapes = {
        "positional_embedding": (context, text),
        "text_projection": (text, embed),
        "logit_scale": (),
        "token_embedding.weight": (49408, text),
        "ln_final.weight": (text,),
        "ln_final.bias": (text,),
        "visual.class_embedding": (vision,),
        "visual.positional_embedding": (17, vision),
        "visual.proj": (vision, embed),
        "visual.conv1.weight": (vision, 3, 8, 8),
    }
    for name in ("visual.ln_pre", "visual.ln_post"):
        tensors |= {f"{name}.weight": (vision,), f"{name}.bias": (vision,)}
    for tower, width in (("transformer", text), ("visual.transformer", vision)):
        for layer in range(layers):
            tensors |= block_shapes(f"{tower}.resblocks.{layer}", width, hidden)
    return tensors


def block_shapes(name: str, width: int, hidden: int) -> Shapes:
    """Of one block."""
    return {
        f"{name}.attn.in_proj_weight": (3 * width, width),
        f"{name}.attn.in_proj_bias": (3 * width,),
        f"{name}.attn.out_proj.weight": (width, width),
        f"{name}.attn.out_proj.bias": (width,),
        f"{name}.ln_1.weight": (width,),
        f"{name}.ln_1.bias": (width,),
        f"{name}.mlp.c_fc.weight": (hidden, width),
        f"{name}.mlp.c_fc.bias": (hidden,),
        f"{name}.mlp.c_proj.weight": (width, hidden),
        f"{name}.mlp.c_proj.bias": (width,),
        f"{name}.ln_2.weight": (width,),
        f"{name}.ln_2.bias": (width,),
    }


def block(x: np.ndarray, t: Tensors, name: str, heads: int, activation: Activation, *, causal: bool) -> np.ndarray:
    """x + attention(LN(x)), then y + MLP(LN(y))."""
    normed = layer_norm(x, t, f"{name}.ln_1", EPS)
    query, key, value = np.split(linear(normed, t[f"{name}.attn.in_proj_weight"], t[f"{name}.attn.in_proj_bias"]), 3, 1)
    mixed = attention(query, key, value, heads, causal=causal)
    x = x + linear(mixed, t[f"{name}.attn.out_proj.weight"], t[f"{name}.attn.out_proj.bias"])
    normed = layer_norm(x, t, f"{name}.ln_2", EPS)
    return x + mlp(normed, t, f"{name}.mlp.c_fc", f"{name}.mlp.c_proj", activation)


def image_tokens(
    pixels: np.ndarray, t: Tensors, heads: int, activation: Activation = quick_gelu, layers: int = 2
) -> np.ndarray:
    """The class token and all patches of a picture in the shared space; the first is the picture's feature."""
    kernels = t["visual.conv1.weight"]
    patches = [np.array([(kernel * patch).sum() for kernel in kernels]) for patch in cut(pixels, 8)]
    x = np.array([t["visual.class_embedding"], *patches]) + t["visual.positional_embedding"]
    x = layer_norm(x, t, "visual.ln_pre", EPS)
    for layer in range(layers):
        x = block(x, t, f"visual.transformer.resblocks.{layer}", heads, activation, causal=False)
    return linear(layer_norm(x, t, "visual.ln_post", EPS), t["visual.proj"].T)


def text_tokens(
    ids: list[int], t: Tensors, positions: np.ndarray, heads: int, activation: Activation = quick_gelu, layers: int = 2
) -> np.ndarray:
    """All tokens of a text in the shared space; the one at the highest id, which ends it, is the text's feature."""
    x = t["token_embedding.weight"][ids] + positions[: len(ids)]
    for layer in range(layers):
        x = block(x, t, f"transformer.resblocks.{layer}", heads, activation, causal=True)
    return linear(layer_norm(x, t, "ln_final", EPS), t["text_projection"].T)


def pooled(tokens: np.ndarray, ids: list[int]) -> np.ndarray:
    """A text's embedding."""
    return unit(tokens[ids.index(max(ids))])
