"""What is published reads back bit for bit, and `transformers` computes with it what we do."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

from foveal.models.config import TextConfig, VisionConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.layouts import from_public
from foveal.models.publish import LAYOUTS, hf_clip, long_clip, open_clip
from foveal.models.sizes import fg_clip, fg_clip2, finelip, long_text, siglip2_b_16, tiny
from foveal.models.weights import build

EOS = 49407


def wide():
    """A CLIP whose heads are 64 wide, as all are that OpenAI's layout can hold."""
    vision = VisionConfig(width=128, layers=2, heads=2, mlp_width=64, patch_size=8, image_size=32)
    text = TextConfig(width=64, layers=2, heads=1, mlp_width=80)
    return replace(tiny(), vision=vision, text=text)


def randomized(config):
    """Every number of the model is another, so that nothing can trade places unseen."""
    model = DualEncoder(config).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.15)
    return model


def texts(lengths=(2, 9, 30, 77)):
    ids = torch.full((len(lengths), max(lengths)), EOS)
    for row, length in enumerate(lengths):
        ids[row, : length - 1] = torch.randint(EOS, (length - 1,))
    return ids


def same(mine, theirs):
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def in_transformers(published):
    peer = CLIPModel(CLIPConfig(**published.config)).eval()
    peer.load_state_dict(published.tensors)
    return peer


@pytest.mark.parametrize("layout", ["hf-clip", "open-clip"])
def test_a_clip_comes_back_bit_for_bit(layout):
    model = randomized(wide())
    published = LAYOUTS[layout](model, "caption")
    config, state = from_public(published.tensors, published.config)
    assert config == model.config
    same(state, model.state_dict())
    assert published.left_out == ()


@pytest.mark.parametrize("variant", [long_text, finelip])
def test_long_clip_and_finelip_come_back_bit_for_bit(variant):
    model = randomized(variant(wide()))
    published = long_clip(model)
    config, state = from_public(published.tensors)
    same(state, model.state_dict())
    assert replace(config, refine=model.config.refine) == model.config
    assert published.left_out == ()
    build(config, state)


def test_what_transformers_made_comes_back_to_it_bit_for_bit():
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    text = tower | {"eos_token_id": 2, "hidden_act": "gelu"}
    theirs = CLIPModel(CLIPConfig(text_config=text, vision_config=tower | {"patch_size": 32}, projection_dim=24))
    published = hf_clip(build(*from_public(theirs.state_dict(), theirs.config.to_dict())))
    same(published.tensors, theirs.state_dict())
    same(in_transformers(published).state_dict(), theirs.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("variant", [lambda config: config, long_text, finelip])
def test_parity_transformers_computes_with_it_what_we_do(variant):
    model = randomized(variant(tiny()))
    peer = in_transformers(hf_clip(model))
    ids, pixels = texts((3, 40, model.config.text.context)), torch.randn(2, 3, 32, 32)
    expected = F.normalize(peer.text_projection(peer.text_model(ids).pooler_output), dim=-1)
    torch.testing.assert_close(model.encode_texts(ids), expected, rtol=0, atol=1e-5)
    expected = F.normalize(peer.visual_projection(peer.vision_model(pixels).pooler_output), dim=-1)
    torch.testing.assert_close(model.encode_images(pixels), expected, rtol=0, atol=1e-5)
    assert peer.logit_scale.item() == model.log_scale.item()


@torch.no_grad()
@pytest.mark.parametrize(("kind", "length"), [("caption", 77), ("phrase", 77), ("long_caption", 248)])
def test_parity_each_tower_of_fg_clip_is_a_clip_of_its_own(kind, length):
    model = randomized(fg_clip(tiny()))
    published = hf_clip(model, kind)
    peer, ids = in_transformers(published), texts((3, 40, length))
    assert published.config["text_config"]["max_position_embeddings"] == length
    expected = F.normalize(peer.text_projection(peer.text_model(ids).pooler_output), dim=-1)
    torch.testing.assert_close(model.encode_texts(ids, kind), expected, rtol=0, atol=1e-5)
    long = kind == "long_caption"
    tower = ("text.positions.rest",) if long else ("text.long_positions.kept", "text.long_positions.rest")
    projection = "text_projections.caption.weight" if long else "text_projections.long_caption.weight"
    assert published.left_out == ("log_negative_scale", "log_region_scale", *tower, projection)


def test_the_long_tower_of_fg_clip_is_a_long_clip():
    model = randomized(fg_clip(wide()))
    back = build(*from_public(long_clip(model, "long_caption").tensors)).eval()
    ids = texts((3, 40, 248))
    assert torch.equal(back.encode_texts(ids), model.encode_texts(ids, "long_caption"))


def test_dead_numbers_are_made_again():
    model = randomized(finelip(wide()))
    tensors = long_clip(model).tensors
    assert torch.equal(tensors["positional_embedding"], model.text.positions())
    assert torch.equal(tensors["positional_embedding_res"], model.text.positions())
    assert tensors["cross_net.aggr_net.weight.3.bias"].tolist() == [0.0] * 39


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_shared_with_the_model(layout):
    model = randomized(long_text(wide()))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for tensor in LAYOUTS[layout](model, "caption").tensors.values():
        tensor.zero_()
    same(model.state_dict(), before)


def test_open_clips_config_holds_what_no_shape_says():
    config = replace(wide(), vision=replace(wide().vision, activation="gelu"))
    config = replace(config, text=replace(config.text, activation="gelu"))
    described = open_clip(DualEncoder(config)).config
    assert described["quick_gelu"] is False
    assert described["vision_cfg"]["head_width"] == 64
    assert described["vision_cfg"]["mlp_ratio"] == 0.5
    assert described["text_cfg"]["mlp_ratio"] == 1.25
    assert described["text_cfg"]["context_length"] == 77


def small_siglip(config):
    tower = {"width": 16, "layers": 1, "heads": 2, "mlp_width": 32}
    return replace(
        config,
        vision=replace(config.vision, **tower, image_size=32),
        text=replace(config.text, **tower, vocabulary=50),
        embed_width=16,
    )


@pytest.mark.parametrize(
    ("layout", "config", "said"),
    [
        ("hf-clip", small_siglip(fg_clip2(siglip2_b_16())), "Layout hf-clip is for models with a class token"),
        ("open-clip", small_siglip(siglip2_b_16()), "Layout open-clip is for models with a class token"),
        ("long-clip", tiny(), "Layout long-clip has heads 64 wide, this model's are 16 wide"),
        ("long-clip", wide(), r"20 \+ 4 \* n positions, this model has 77 for kind 'caption'.*foveal upgrade"),
        (
            "open-clip",
            replace(wide(), text=replace(wide().text, activation="gelu")),
            "with the activation quick_gelu or gelu",
        ),
        ("open-clip", replace(wide(), text=replace(wide().text, eos_id=7)), "an end of text with the highest id"),
        (
            "long-clip",
            replace(wide(), vision=replace(wide().vision, norm_eps=1e-6)),
            "norms with an epsilon of 1e-5",
        ),
    ],
)
def test_what_a_layout_cannot_hold_is_refused_in_a_line(layout, config, said):
    with pytest.raises(ValueError, match=said) as error:
        LAYOUTS[layout](DualEncoder(config), "caption")
    assert "\n" not in str(error.value)


def test_towers_of_another_make_are_refused():
    model = DualEncoder(tiny())
    model.config = replace(tiny(), text=replace(tiny().text, tower="minilm"))
    for publish in LAYOUTS.values():
        with pytest.raises(ValueError, match="for models with two transformers"):
            publish(model, "caption")
