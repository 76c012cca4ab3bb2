"""Public checkpoints in our towers give what `transformers` gives with the same random weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, MetaClip2Config, MetaClip2Model, Siglip2Config, Siglip2Model

from foveal.models.dual_encoder import DualEncoder
from foveal.models.layouts import from_public
from foveal.models.sizes import (
    fg_clip,
    fg_clip2,
    finelip,
    long_text,
    siglip2_b_16,
    siglip2_l_16,
    vit_b_16,
    vit_l_14,
    vit_l_14_336,
)
from foveal.models.vision import patchify
from foveal.models.weights import build
from foveal.types import PatchedPixels

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
EOS = 49407
# What OpenAI's archives hold beside the weights, by which they are known.
ARCHIVE_NUMBERS = {name: torch.tensor(77) for name in ("input_resolution", "context_length", "vocab_size")}


def randomized(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough that every part of the model shows in its features."""
    for name, parameter in model.named_parameters():
        center = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        torch.nn.init.normal_(parameter, center, 0.15)
    return model.eval()


def their_clip(context: int = 77) -> CLIPModel:
    text = TOWER | {"max_position_embeddings": context, "eos_token_id": EOS}
    vision = TOWER | {"image_size": 32, "patch_size": 8}
    return randomized(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)))


def their_siglip2(context: int = 64) -> Siglip2Model:
    tokens = {"vocab_size": 100, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    text = TOWER | tokens | {"max_position_embeddings": context}
    vision = TOWER | {"num_patches": 16, "patch_size": 4}
    return randomized(Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)))


def ours(state: dict[str, Tensor], config: dict | None = None) -> DualEncoder:
    return build(*from_public(state, config)).eval()


def texts(lengths: tuple[int, ...] = (2, 9, 30, 77)) -> Tensor:
    ids = torch.full((len(lengths), max(lengths)), EOS)
    for row, length in enumerate(lengths):
        ids[row, : length - 1] = torch.randint(EOS, (length - 1,))
    return ids


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


def naflex() -> tuple[PatchedPixels, dict[str, Tensor]]:
    """Three images of different grids, garbage where padded, and the same for `transformers`."""
    grid = torch.tensor([[4, 4], [2, 9], [5, 3]])
    mask = torch.arange(18) < grid.prod(dim=1, keepdim=True)
    values = torch.randn(3, 18, 48)
    theirs = {"pixel_values": values, "pixel_attention_mask": mask.long(), "spatial_shapes": grid}
    return PatchedPixels(torch.where(mask[..., None], values, 7.0), mask, grid), theirs


@torch.no_grad()
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (48, 48), (16, 40)])
def test_parity_clip_images_of_any_size_and_aspect(rows, columns):
    clip = their_clip()
    model = ours(clip.state_dict(), clip.config.to_dict())
    pixels = torch.randn(2, 3, rows, columns)
    theirs = clip.vision_model(pixels, interpolate_pos_encoding=True)
    features = model.vision(pixels)
    torch.testing.assert_close(features.pooled, theirs.pooler_output, rtol=0, atol=1e-5)
    last = clip.vision_model.post_layernorm(theirs.last_hidden_state)[:, 1:]
    torch.testing.assert_close(features.patches, last, rtol=0, atol=1e-5)
    expected = unit(clip.visual_projection(theirs.pooler_output))
    torch.testing.assert_close(model.encode_images(pixels), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_parity_clip_texts_of_any_length():
    clip = their_clip()
    model, ids = ours(clip.state_dict(), clip.config.to_dict()), texts()
    theirs = clip.text_model(ids)
    torch.testing.assert_close(model.text(ids).pooled, theirs.pooler_output, rtol=0, atol=1e-5)
    hidden, mask = model.text(ids).packing.pad(model.text(ids).tokens)
    torch.testing.assert_close(hidden[mask], theirs.last_hidden_state[mask], rtol=0, atol=1e-5)
    expected = unit(clip.text_projection(theirs.pooler_output))
    torch.testing.assert_close(model.encode_texts(ids), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_parity_siglip2_images_of_different_grids_in_one_batch():
    siglip = their_siglip2()
    model = ours(siglip.state_dict(), siglip.config.to_dict())
    pixels, inputs = naflex()
    theirs, features = siglip.vision_model(**inputs), model.vision(pixels)
    torch.testing.assert_close(features.pooled, theirs.pooler_output, rtol=0, atol=1e-5)
    assert features.patches is not None
    torch.testing.assert_close(features.patches[pixels.mask], theirs.last_hidden_state[pixels.mask], rtol=0, atol=1e-5)
    torch.testing.assert_close(model.encode_images(pixels), unit(theirs.pooler_output), rtol=0, atol=1e-5)


@torch.no_grad()
def test_parity_siglip2_images_of_one_size_given_as_pixels():
    siglip = their_siglip2()
    model, pixels = ours(siglip.state_dict(), siglip.config.to_dict()), torch.randn(2, 3, 12, 28)
    patched = patchify(pixels, 4)
    theirs = siglip.vision_model(patched.values, patched.mask.long(), patched.grid).pooler_output
    torch.testing.assert_close(model.encode_images(pixels), unit(theirs), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("length", [5, 64])
def test_parity_siglip2_texts(length):
    siglip = their_siglip2()
    model, ids = ours(siglip.state_dict(), siglip.config.to_dict()), torch.randint(100, (3, length))
    theirs = siglip.text_model(ids)
    torch.testing.assert_close(model.text(ids).tokens, theirs.last_hidden_state.flatten(0, 1), rtol=0, atol=1e-5)
    torch.testing.assert_close(model.encode_texts(ids), unit(theirs.pooler_output), rtol=0, atol=1e-5)


def fg_clip_state(short: CLIPModel, long: CLIPModel) -> dict[str, Tensor]:
    """FG-CLIP's tensors: `short` with the long table and projection of `long`, garbage where nothing is read."""
    table = long.text_model.embeddings.position_embedding.weight.detach()
    kept, rest = torch.full_like(table, 9.0), torch.full_like(table, -9.0)
    kept[:20], rest[20:] = table[:20], table[20:]
    return short.state_dict() | {
        "text_model.embeddings.position_embedding_ori.weight": kept,
        "text_model.embeddings.position_embedding_res.weight": rest,
        "text_model.embeddings.position_ids": torch.full((1, 77), 10**17),
        "text_filip_projection.weight": long.text_projection.weight.detach(),
        "logit_scale_finegraind": torch.tensor(3.0),
    }


@torch.no_grad()
def test_parity_fg_clip_reads_long_captions_with_their_own_table_and_projection():
    short, long = their_clip(), their_clip(248)
    model = ours(fg_clip_state(short, long), short.config.to_dict())
    brief, full = texts(), texts((3, 40, 248))
    for kind in ("caption", "phrase"):
        expected = unit(short.text_projection(short.text_model(brief).pooler_output))
        torch.testing.assert_close(model.encode_texts(brief, kind), expected, rtol=0, atol=1e-5)
    kept = {name: value for name, value in short.text_model.state_dict().items() if "position" not in name}
    long.text_model.load_state_dict(kept, strict=False)
    expected = unit(long.text_projection(long.text_model(full).pooler_output))
    torch.testing.assert_close(model.encode_texts(full, "long_caption"), expected, rtol=0, atol=1e-5)
    assert model.log_region_scale.item() == 3
    assert model.log_negative_scale.item() == model.log_scale.item()


@torch.no_grad()
def test_parity_fg_clip_dense_features_skip_the_last_attention_map():
    short = their_clip()
    model, pixels = ours(fg_clip_state(short, their_clip(248)), short.config.to_dict()), torch.randn(2, 3, 32, 32)
    vision = short.vision_model
    before = vision(pixels, output_hidden_states=True).hidden_states[-2]
    block = vision.encoder.layers[-1]
    x = before + block.self_attn.out_proj(block.self_attn.v_proj(block.layer_norm1(before)))
    x = x + block.mlp(block.layer_norm2(x))
    expected = unit(short.visual_projection(vision.post_layernorm(x[:, 1:])))
    torch.testing.assert_close(model.encode_patches(pixels)[0], expected, rtol=0, atol=1e-5)


def fg_clip2_state(siglip: Siglip2Model, head: torch.nn.Module) -> dict[str, Tensor]:
    """FG-CLIP 2's tensors: two more text heads, two more tables, the dense head of another model."""
    linears = {
        f"{name}.{part}": torch.randn(32, 32)[0 if part == "bias" else slice(None)]
        for name in ("longtext_head", "boxtext_head")
        for part in ("weight", "bias")
    }
    tables = {
        f"text_model.embeddings.position_embedding_{name}.weight": torch.randn(196, 32) for name in ("ori", "res")
    }
    dense = {f"dense_feature_head.{name}": tensor for name, tensor in head.state_dict().items()}
    return siglip.state_dict() | linears | tables | dense


@torch.no_grad()
def test_parity_fg_clip2_text_heads_and_tables():
    siglip, long = their_siglip2(), their_siglip2(196)
    state = fg_clip2_state(siglip, long.vision_model.head)
    model = ours(state, siglip.config.to_dict())
    ids, full = torch.randint(100, (3, 64)), torch.randint(100, (3, 196))
    last = siglip.text_model(ids).last_hidden_state[:, -1]
    expected = unit(F.linear(last, state["boxtext_head.weight"], state["boxtext_head.bias"]))
    torch.testing.assert_close(model.encode_texts(ids, "phrase"), expected, rtol=0, atol=1e-5)
    tables = [state[f"text_model.embeddings.position_embedding_{name}.weight"] for name in ("ori", "res")]
    kept = {name: value for name, value in siglip.text_model.state_dict().items() if "position" not in name}
    long.text_model.load_state_dict(kept, strict=False)
    long.text_model.embeddings.position_embedding.weight.copy_(torch.cat([tables[0][:20], tables[1][20:]]))
    last = long.text_model(full).last_hidden_state[:, -1]
    expected = unit(F.linear(last, state["longtext_head.weight"], state["longtext_head.bias"]))
    torch.testing.assert_close(model.encode_texts(full, "long_caption"), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_parity_fg_clip2_dense_head_has_patches_as_queries():
    siglip, head = their_siglip2(), their_siglip2().vision_model.head
    model = ours(fg_clip2_state(siglip, head), siglip.config.to_dict())
    pixels, inputs = naflex()
    x = siglip.vision_model(**inputs).last_hidden_state
    mixed = head.attention(x, x, x, key_padding_mask=~pixels.mask)[0]
    expected = unit(mixed + head.mlp(head.layernorm(mixed)))
    patches = model.encode_patches(pixels)[0]
    torch.testing.assert_close(patches[pixels.mask], expected[pixels.mask], rtol=0, atol=1e-5)


def openai_state(clip: CLIPModel) -> dict[str, Tensor]:
    """The same weights under the names that OpenAI's code gives them."""
    state = {name: tensor.detach() for name, tensor in clip.state_dict().items()}
    renamed = {
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
        "logit_scale": state["logit_scale"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
    }
    norms = {"ln_final": "text_model.final_layer_norm", "visual.ln_pre": "vision_model.pre_layrnorm"}
    norms["visual.ln_post"] = "vision_model.post_layernorm"
    parts = {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2"}
    parts |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for tower, theirs in (("transformer", "text_model"), ("visual.transformer", "vision_model")):
        for layer in range(len(getattr(clip, theirs).encoder.layers)):
            block, other = f"{tower}.resblocks.{layer}", f"{theirs}.encoder.layers.{layer}"
            norms |= {f"{block}.{part}": f"{other}.{name}" for part, name in parts.items()}
            for kind in ("weight", "bias"):
                thirds = [state[f"{other}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                renamed[f"{block}.attn.in_proj_{kind}"] = torch.cat(thirds)
    for name, other in norms.items():
        renamed |= {f"{name}.{kind}": state[f"{other}.{kind}"] for kind in ("weight", "bias")}
    return renamed


def finelip_state(clip: CLIPModel, slots: int, hidden: int) -> dict[str, Tensor]:
    """FineLIP's tensors, on the meta device if the model is."""
    state = openai_state(clip)
    width = state["text_projection"].shape[1]
    shapes = {
        "scale": (1, 1, 1),
        "weight.0.weight": (width,),
        "weight.0.bias": (width,),
        "weight.1.weight": (hidden, width),
        "weight.1.bias": (hidden,),
        "weight.3.weight": (slots, hidden),
        "weight.3.bias": (slots,),
    }
    for net in ("aggr_net", "cap_aggr_net"):
        state |= {f"cross_net.{net}.{name}": torch.randn(shape, device=clip.device) for name, shape in shapes.items()}
    table = state["positional_embedding"]
    return state | {"positional_embedding_res": table[torch.arange(len(table) - 1, -1, -1, device=table.device)]}


def wide_clip(context: int = 77) -> CLIPModel:
    """A CLIP whose heads are 64 wide, as in every model of OpenAI's layout."""
    tower = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = tower | {"max_position_embeddings": context, "eos_token_id": EOS}
    vision = tower | {"image_size": 32, "patch_size": 8}
    return randomized(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)))


@torch.no_grad()
def test_parity_openai_layout_equals_the_same_weights_in_the_layout_of_transformers():
    clip = wide_clip()
    config, state = from_public(openai_state(clip) | ARCHIVE_NUMBERS)
    same_config, same_state = from_public(clip.state_dict(), clip.config.to_dict())
    assert config == same_config
    assert state.keys() == same_state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, same_state[name], rtol=0, atol=0)


@torch.no_grad()
def test_parity_finelip_texts_and_refined_sets():
    clip = wide_clip(248)
    state = finelip_state(clip, slots=5, hidden=4)
    model, ids, pixels = ours(state), texts((3, 40, 248)), torch.randn(2, 3, 32, 32)
    table = torch.cat([state["positional_embedding"][:20], state["positional_embedding_res"][20:]])
    clip.text_model.embeddings.position_embedding.weight.copy_(table)
    hidden = clip.text_projection(clip.text_model(ids).last_hidden_state)
    last = clip.vision_model.post_layernorm(clip.vision_model(pixels).last_hidden_state)
    patches = clip.visual_projection(last)

    def refined(net: str, x: Tensor) -> Tensor:
        part = {name.removeprefix(f"cross_net.{net}."): tensor for name, tensor in state.items() if f".{net}." in name}
        h = F.layer_norm(x, x.shape[-1:], part["weight.0.weight"], part["weight.0.bias"])
        h = F.gelu(F.linear(h, part["weight.1.weight"], part["weight.1.bias"]))
        scores = F.linear(h, part["weight.3.weight"], part["weight.3.bias"])
        return (part["scale"][0, 0] * scores).softmax(dim=0).T @ x

    for row, length in enumerate((3, 40, 248)):
        slots = refined("cap_aggr_net", hidden[row, : length - 1])
        expected = unit(torch.cat([slots, hidden[row, length - 1 : length]]))
        torch.testing.assert_close(model.encode_text_tokens(ids)[0][row], expected, rtol=0, atol=1e-5)
    for row in range(2):
        expected = unit(torch.cat([patches[row, :1], refined("aggr_net", patches[row, 1:])]))
        torch.testing.assert_close(model.encode_image_tokens(pixels)[0][row], expected, rtol=0, atol=1e-5)


def meta_clip(text: int, vision: int, layers: int, image: int, patch: int, *, context: int = 77) -> CLIPModel:
    texts = {"hidden_size": text, "intermediate_size": 4 * text, "num_attention_heads": text // 64}
    texts |= {"max_position_embeddings": context, "eos_token_id": EOS}
    images = {"hidden_size": vision, "intermediate_size": 4 * vision, "num_attention_heads": vision // 64}
    images |= {"image_size": image, "patch_size": patch, "num_hidden_layers": layers}
    with torch.device("meta"):
        return CLIPModel(CLIPConfig(text_config=texts, vision_config=images, projection_dim=text))


def meta_siglip2(width: int, mlp: int, layers: int, heads: int) -> Siglip2Model:
    tower = {"hidden_size": width, "intermediate_size": mlp, "num_hidden_layers": layers, "num_attention_heads": heads}
    tokens = {"vocab_size": 256_000, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    with torch.device("meta"):
        return Siglip2Model(Siglip2Config(text_config=tower | tokens, vision_config=tower))


def published(name: str) -> tuple[dict[str, Tensor], dict | None]:
    """Tensors (without memory) and config of a published checkpoint."""
    if name.startswith("siglip2"):
        model = meta_siglip2(768, 3072, 12, 12) if name == "siglip2_base" else meta_siglip2(1024, 4096, 24, 16)
        return dict(model.state_dict()), model.config.to_dict()
    if name.startswith("fg_clip2"):
        state, config = published(name.replace("fg_clip2", "siglip2"))
        width = len(state["text_model.head.bias"])
        for head in ("longtext_head", "boxtext_head"):
            state |= {f"{head}.{part}": state[f"text_model.head.{part}"] for part in ("weight", "bias")}
        for table in ("ori", "res"):
            state[f"text_model.embeddings.position_embedding_{table}.weight"] = torch.empty(196, width, device="meta")
        heads = {key: tensor for key, tensor in state.items() if key.startswith("vision_model.head.")}
        return state | {key.replace("vision_model.head", "dense_feature_head"): heads[key] for key in heads}, config
    base = name.endswith("base")
    size = (512, 768, 12, 224, 16) if base else (768, 1024, 24, 336 if "fg" in name else 224, 14)
    if name.startswith("finelip"):
        return finelip_state(meta_clip(*size, context=248), slots=39, hidden=102 if base else 153), None
    model = meta_clip(*size)
    state = dict(model.state_dict())
    for table in ("ori", "res"):
        state[f"text_model.embeddings.position_embedding_{table}.weight"] = torch.empty(248, size[0], device="meta")
    state["text_filip_projection.weight"] = state["text_projection.weight"]
    state |= dict.fromkeys(("logit_scale_finegraind", "logit_scale_hardneg"), state["logit_scale"])
    return state, model.config.to_dict()


@pytest.mark.parametrize(
    ("name", "config", "tensors", "parameters", "dead"),
    [
        ("fg_clip_base", fg_clip(vit_b_16()), 403, 150_136_835, 248 * 512),
        ("fg_clip_large", fg_clip(vit_l_14_336()), 595, 428_914_947, 248 * 768),
        ("fg_clip2_base", fg_clip2(siglip2_b_16()), 425, 383_803_394, 196 * 768 + 768 - 2),
        ("fg_clip2_large", fg_clip2(siglip2_l_16()), 809, 896_622_594, 196 * 1024 + 1024 - 2),
        ("siglip2_base", siglip2_b_16(), None, None, 0),
        ("finelip_base", finelip(vit_b_16()), 317, 149_950_001, 248 * 512 + 2 * 39),
        ("finelip_large", finelip(vit_l_14()), 461, 428_188_705, 248 * 768 + 2 * 39),
    ],
)
def test_published_checkpoints_become_our_named_sizes(name, config, tensors, parameters, dead):
    """Totals are the published ones; `dead` numbers are never read and dropped, less the scales FG-CLIP 2 lacks."""
    state, their_config = published(name)
    total = sum(tensor.numel() for tensor in state.values())
    assert tensors is None or (len(state), total) == (tensors, parameters)
    found, mapped = from_public(state, their_config)
    assert found == config
    with torch.device("meta"):
        model = DualEncoder(config)
    assert {key: x.shape for key, x in mapped.items()} == {key: x.shape for key, x in model.state_dict().items()}
    assert sum(tensor.numel() for tensor in mapped.values()) == total - dead


def test_long_clip_is_found_by_its_second_table():
    state, _ = published("finelip_base")
    config, mapped = from_public({name: tensor for name, tensor in state.items() if "cross_net" not in name})
    assert config == long_text(vit_b_16())
    assert mapped["text.positions.kept"].shape == (20, 512)


def test_the_checkpoint_is_copied_not_shared():
    clip = their_clip()
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    _, mapped = from_public(clip.state_dict(), clip.config.to_dict())
    for tensor in mapped.values():
        tensor.zero_()
    for name, tensor in clip.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        ("text_model.encoder.layers.1.self_attn.v_proj.bias", "v_proj.bias"),
        ("vision_model.embeddings.position_embedding.weight", "vision.position"),
        ("visual_projection.weight", "image_projection.weight"),
    ],
)
def test_a_missing_tensor_is_named(drop, said):
    clip = their_clip()
    state = clip.state_dict()
    del state[drop]
    with pytest.raises(ValueError, match=f"no tensor for '.*{said}'"):
        from_public(state, clip.config.to_dict())


def test_an_unknown_tensor_is_named():
    clip = their_clip()
    with pytest.raises(ValueError, match=r"1 tensors unexpected: adapter\.weight"):
        ours(clip.state_dict() | {"adapter.weight": torch.zeros(1)}, clip.config.to_dict())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "need the config.json"),
        ({"vision_config": {}}, "no section 'text_config'"),
        ({"text_config": {}, "vision_config": {"hidden_act": "relu"}}, "no activation 'relu'"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(config, said):
    with pytest.raises(ValueError, match=said):
        ours(their_clip().state_dict(), config)


def test_an_eos_of_two_means_the_highest_id():
    """Configs of OpenAI's own checkpoints say 2, and `transformers` then pools at the highest id."""
    clip = their_clip()
    config = clip.config.to_dict()
    config["text_config"]["eos_token_id"] = 2
    assert from_public(clip.state_dict(), config)[0].text.eos_id == EOS
    assert from_public(clip.state_dict(), config | {"model_type": "metaclip_2"})[0].text.eos_id == 2


@torch.no_grad()
def test_parity_metaclip2_texts_end_at_id_two():
    text = TOWER | {"vocab_size": 500, "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
    config = MetaClip2Config(text_config=text, vision_config=TOWER | {"image_size": 32, "patch_size": 8})
    theirs = randomized(MetaClip2Model(config))
    model = ours(theirs.state_dict(), theirs.config.to_dict())
    ids = torch.randint(3, 500, (3, 20))
    for row, length in enumerate((4, 11, 20)):
        ids[row, length - 1 :] = 2
    expected = unit(theirs.text_projection(theirs.text_model(ids).pooler_output))
    torch.testing.assert_close(model.encode_texts(ids), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "patch", "layers", "vision", "text"),
    [(224, 32, 12, 768, 512), (224, 16, 12, 768, 512), (224, 14, 24, 1024, 768), (336, 14, 24, 1024, 768)],
)
def test_the_sizes_that_openai_published_need_no_config(image, patch, layers, vision, text):
    config, _ = from_public(openai_state(meta_clip(text, vision, layers, image, patch)))
    assert (config.vision.heads, config.text.heads, config.vision.activation) == (
        vision // 64,
        text // 64,
        "quick_gelu",
    )


@pytest.mark.parametrize(
    ("image", "patch", "layers", "vision", "text"),
    [
        (224, 14, 32, 1280, 1024),  # ViT-H: GELU and 16 heads of 80
        (224, 14, 40, 1408, 1024),  # ViT-g: 16 heads of 88
        (224, 14, 48, 1664, 1280),  # ViT-bigG: 16 heads of 104
        (240, 16, 12, 896, 640),  # ViT-B-16-plus
        (256, 16, 12, 768, 512),  # ViT-B-16 at another size
    ],
)
def test_sizes_of_open_clip_are_not_taken_for_openais(image, patch, layers, vision, text):
    state = openai_state(meta_clip(text, vision, layers, image, patch))
    with pytest.raises(ValueError, match=r"do not say activation and heads\. Put the open_clip_config\.json"):
        from_public(state)


def test_heads_of_64_must_fill_a_tower():
    state = openai_state(their_clip()) | ARCHIVE_NUMBERS
    with pytest.raises(ValueError, match="A tower is 32 wide, which heads of 64 do not fill"):
        from_public(state)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("visual.layer1.0.conv1.weight", "ResNets are not supported"),
        ("visual.trunk.blocks.0.attn.qkv.weight", "image towers of timm are not supported"),
        ("text.transformer.embeddings.word_embeddings.weight", "text towers of transformers are not supported"),
        ("text_decoder.ln_final.weight", "CoCa's text decoder is not supported"),
    ],
)
def test_towers_that_are_not_known_are_named_without_a_config_too(openais, name, said):
    with pytest.raises(ValueError, match=said):
        from_public(openais | {name: torch.zeros(1)})


@pytest.fixture(scope="module")
def openais():
    """The tensors of a small model in OpenAI's layout."""
    return openai_state(wide_clip())


@pytest.fixture(scope="module")
def saved():
    """The tensors and the config of a small model in the layout of `transformers`."""
    clip = their_clip()
    return clip.state_dict(), clip.config.to_dict()


WIDE_OPTIONS = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}


def test_a_config_of_open_clips_package_is_read_as_that_of_its_hub(openais):
    config, _ = from_public(openais, WIDE_OPTIONS)
    assert config == from_public(openais, {"model_cfg": WIDE_OPTIONS})[0]
    assert (config.vision.heads, config.text.heads, config.vision.activation) == (4, 4, "gelu")


@pytest.mark.parametrize(
    ("section", "option", "value", "said"),
    [
        ("", "embed_dim", 512, r"model_cfg\.embed_dim is 512, the tensors have 24"),
        ("vision_cfg", "width", 768, r"vision_cfg\.width is 768, the tensors have 128"),
        ("vision_cfg", "layers", 12, r"vision_cfg\.layers is 12, the tensors have 2"),
        ("vision_cfg", "patch_size", 16, r"vision_cfg\.patch_size is 16"),
        ("vision_cfg", "image_size", 224, r"vision_cfg\.image_size is 224, the tensors have 32"),
        ("vision_cfg", "image_size", [32, 32], r"vision_cfg\.image_size is \[32, 32\]\. It must be a whole number"),
        ("vision_cfg", "head_width", "64", r"vision_cfg\.head_width is '64'\. It must be a whole number"),
        ("vision_cfg", "head_width", 10**9, r"vision_cfg\.head_width is 1000000000\. It must be a whole number"),
        ("text_cfg", "heads", True, r"text_cfg\.heads is True\. It must be a whole number"),
        ("text_cfg", "layers", None, r"text_cfg\.layers is None, the tensors have 2"),
        ("text_cfg", "context_length", 64, r"text_cfg\.context_length is 64, the tensors have 77"),
        ("text_cfg", "vocab_size", 64_000, r"text_cfg\.vocab_size is 64000, the tensors have 49408"),
    ],
)
def test_what_open_clips_config_says_otherwise_than_the_tensors_is_refused(openais, section, option, value, said):
    changed = {option: value} if not section else {section: WIDE_OPTIONS[section] | {option: value}}
    with pytest.raises(ValueError, match=said):
        from_public(openais, WIDE_OPTIONS | changed)


@pytest.mark.parametrize(
    ("section", "option", "value", "said"),
    [
        (
            "vision_config",
            "num_attention_heads",
            10**9,
            r"vision_config\.num_attention_heads is 1000000000\. It must be",
        ),
        ("vision_config", "num_attention_heads", "8", r"vision_config\.num_attention_heads is '8'"),
        ("text_config", "num_attention_heads", 4.0, r"text_config\.num_attention_heads is 4\.0"),
        ("text_config", "layer_norm_eps", float("nan"), r"text_config\.layer_norm_eps is nan\. It must be a number"),
        ("text_config", "layer_norm_eps", True, r"text_config\.layer_norm_eps is True"),
        ("text_config", "eos_token_id", [49407], r"text_config\.eos_token_id is \[49407\]"),
        ("text_config", "eos_token_id", -1, r"text_config\.eos_token_id is -1"),
        ("text_config", "hidden_act", ["gelu"], r"no activation \['gelu'\]"),
        ("text_config", "num_hidden_layers", 4, r"text_config\.num_hidden_layers is 4, the tensors have 3"),
        ("vision_config", "num_hidden_layers", 2, r"vision_config\.num_hidden_layers is 2, the tensors have 3"),
        ("vision_config", "image_size", 10**6, r"vision_config\.image_size is 1000000, the tensors have 32"),
        ("vision_config", "hidden_size", 10**9, r"vision_config\.hidden_size is 1000000000, the tensors have 32"),
        ("text_config", "vocab_size", 10**9, r"text_config\.vocab_size is 1000000000, the tensors have 49408"),
    ],
)
def test_what_a_config_of_transformers_says_otherwise_than_the_tensors_is_refused(saved, section, option, value, said):
    state, config = saved
    with pytest.raises(ValueError, match=said):
        from_public(state, config | {section: config[section] | {option: value}})


def test_layers_that_are_missing_without_a_trace_are_noticed(saved):
    """The config leaves out what is at its default, which is 12."""
    state, config = saved
    vision = {name: value for name, value in config["vision_config"].items() if name != "num_hidden_layers"}
    with pytest.raises(ValueError, match=r"vision_config\.num_hidden_layers is 12, the tensors have 3"):
        from_public(state, config | {"vision_config": vision})


def test_old_configs_count_what_they_say_again(saved):
    state, config = saved
    again = config["vision_config"] | {"hidden_act": "gelu"}
    read = from_public(state, config | {"vision_config_dict": again, "text_config_dict": None})[0]
    assert (read.vision.activation, read.text.activation) == ("gelu", "quick_gelu")
