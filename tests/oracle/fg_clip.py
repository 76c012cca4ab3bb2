"""FG-CLIP (arXiv:2505.05071): CLIP with long captions of their own table and projection, and features of regions."""

import numpy as np

from . import hugging_face as hf
from .formula import pixels, token_ids, weights
from .openai import END, START
from .plain import Tensors, cut, layer_norm, linear, mlp, quick_gelu, roi_mean, unit

WIDTH, HIDDEN, EMBED, HEADS = 32, 40, 24, 2
_TOWER = {"hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": HEADS}
CONFIG = {
    "model_type": "clip",
    "projection_dim": EMBED,
    "text_config": _TOWER | {"max_position_embeddings": 77, "eos_token_id": END},
    "vision_config": _TOWER | {"image_size": 32, "patch_size": 8},
}
SHAPES: hf.Shapes = {
    "logit_scale": (),
    "logit_scale_finegraind": (),
    "logit_scale_hardneg": (),
    "visual_projection.weight": (EMBED, WIDTH),
    "text_projection.weight": (EMBED, WIDTH),
    "text_filip_projection.weight": (EMBED, WIDTH),
    "text_model.embeddings.token_embedding.weight": (49408, WIDTH),
    "text_model.embeddings.position_embedding.weight": (77, WIDTH),
    "text_model.embeddings.position_embedding_res.weight": (248, WIDTH),
    "text_model.embeddings.position_embedding_ori.weight": (248, WIDTH),
    **hf.block_shapes("text_model", WIDTH, HIDDEN),
    "vision_model.embeddings.class_embedding": (WIDTH,),
    "vision_model.embeddings.patch_embedding.weight": (WIDTH, 3, 8, 8),
    "vision_model.embeddings.position_embedding.weight": (17, WIDTH),
    **hf.block_shapes("vision_model", WIDTH, HIDDEN),
}
for _name in ("text_model.final_layer_norm", "vision_model.pre_layrnorm", "vision_model.post_layernorm"):
    SHAPES |= {f"{_name}.weight": (WIDTH,), f"{_name}.bias": (WIDTH,)}


def image(picture: np.ndarray, t: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """A picture's embedding, and its dense features in rows and columns, projected."""
    kernels = t["vision_model.embeddings.patch_embedding.weight"]
    patches = [np.array([(kernel * patch).sum() for kernel in kernels]) for patch in cut(picture, 8)]
    x = np.array([t["vision_model.embeddings.class_embedding"], *patches])
    x = layer_norm(x + t["vision_model.embeddings.position_embedding.weight"], t, "vision_model.pre_layrnorm", 1e-5)
    out, before = hf.encoded(x, t, "vision_model", HEADS, quick_gelu, 1e-5)
    whole = linear(layer_norm(out[:1], t, "vision_model.post_layernorm", 1e-5), t["visual_projection.weight"])[0]
    dense = without_attention(before, t, "vision_model.encoder.layers.1")[1:]
    dense = linear(layer_norm(dense, t, "vision_model.post_layernorm", 1e-5), t["visual_projection.weight"])
    return unit(whole), dense.reshape(4, 4, EMBED)


def without_attention(h: np.ndarray, t: Tensors, name: str) -> np.ndarray:
    """The last block with its attention map the identity: y = h + Out(V(LN(h))), then y + MLP(LN(y))."""
    value = hf.projected(layer_norm(h, t, f"{name}.layer_norm1", 1e-5), t, name, "v_proj")
    y = h + hf.projected(value, t, name, "out_proj")
    return y + mlp(layer_norm(y, t, f"{name}.layer_norm2", 1e-5), t, f"{name}.mlp.fc1", f"{name}.mlp.fc2", quick_gelu)


def text(ids: list[int], kind: str, t: Tensors) -> np.ndarray:
    """A text's embedding, read at its first end mark. Padding is the end mark again."""
    long = kind == "long_caption"
    names = "text_model.embeddings.position_embedding{}.weight"
    first, rest = (t[names.format(end)] for end in (("_ori", "_res") if long else ("", "")))
    length = 248 if long else 77
    padded = [*ids, *[END] * (length - len(ids))]
    positions = np.array([first[place] if place < 20 else rest[place] for place in range(length)])
    x = t["text_model.embeddings.token_embedding.weight"][padded] + positions
    x, _ = hf.encoded(x, t, "text_model", HEADS, quick_gelu, 1e-5, causal=True)
    x = layer_norm(x, t, "text_model.final_layer_norm", 1e-5)[padded.index(END)]
    return unit(linear(x[None], t["text_filip_projection.weight" if long else "text_projection.weight"])[0])


def inputs() -> dict:
    texts = {length: [START, *token_ids(f"text {length}", length, START), END] for length in (2, 25, 75, 150, 246)}
    return {
        "pictures": [["one", 32, 32], ["two", 32, 32]],
        "texts": {
            "caption": [texts[2], texts[75]],
            "long_caption": [texts[2], texts[25], texts[150], texts[246]],
            "phrase": [texts[25]],
        },
        "boxes": [
            [[0.0, 0.0, 1.0, 1.0], [0.1, 0.2, 0.35, 0.3], [0.7, 0.55, 1.0, 1.0]],
            [[0.0, 0.4, 0.05, 0.9], [0.3, 0.3, 0.31, 0.32]],
        ],
    }


def outputs(given: dict) -> dict[str, np.ndarray]:
    t = weights(SHAPES)
    seen = [image(pixels(*each), t) for each in given["pictures"]]
    found = {kind: np.array([text(ids, kind, t) for ids in texts]) for kind, texts in given["texts"].items()}
    regions = [roi_mean(dense, box) for (_, dense), boxes in zip(seen, given["boxes"], strict=True) for box in boxes]
    return found | {
        "images": np.array([whole for whole, _ in seen]),
        "patches": np.array([[unit(row) for row in dense.reshape(16, EMBED)] for _, dense in seen]).reshape(-1, EMBED),
        "regions": np.array([unit(region) for region in regions]),
        "scale": np.exp(t["logit_scale"]),
        "region_scale": np.exp(t["logit_scale_finegraind"]),
    }
