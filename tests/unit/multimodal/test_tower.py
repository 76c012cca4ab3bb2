"""Image towers in `transformers`: the numbers are ours, and no patch is dropped in silence."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from transformers import (
    AutoModel,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SiglipVisionModel,
)

from foveal.cli.main import main
from foveal.data.images import SIGLIP_MEAN, SIGLIP_STD
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import fg_clip, siglip2_b_16, tiny
from foveal.multimodal.tower import Reading, save_vision_tower, vision_tower


def randomized(config, **protocol):
    torch.manual_seed(2)
    model = DualEncoder(config).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.15)
    said = Protocol(**{"family": "clip", "resize": "squash"} | protocol)
    return Encoder(model, Tokenizer.clip(), said.transform(config.vision), protocol=said, progress=False)


def clip(activation="quick_gelu"):
    config = fg_clip(tiny())
    return randomized(replace(config, vision=replace(config.vision, activation=activation)))


def siglip(dense="plain"):
    whole = siglip2_b_16()
    vision = replace(whole.vision, width=32, layers=3, heads=4, mlp_width=48, patch_size=8, image_size=32, dense=dense)
    text = replace(whole.text, width=32, layers=1, heads=2, mlp_width=64, vocabulary=99, eos_id=1)
    return randomized(
        replace(whole, vision=vision, text=text, embed_width=32), resize="naflex", mean=SIGLIP_MEAN, std=SIGLIP_STD
    )


def pixels(side=32):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
@pytest.mark.parametrize("make", [clip, siglip])
def test_the_penultimate_layer_is_what_our_last_block_gets(make):
    encoder = make()
    model, reading = vision_tower(encoder)
    hidden = model(pixel_values=pixels(), output_hidden_states=True).hidden_states[reading.vision_feature_layer]
    tower = encoder.model.vision
    ours = tower(pixels(), taps=(tower.config.layers - 2,)).taps[0]
    torch.testing.assert_close(hidden[:, reading.num_additional_image_tokens :], ours, rtol=0, atol=1e-4)
    assert ours.shape[1] == reading.tokens == 16


@torch.no_grad()
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "tanh_gelu"])
def test_fg_clips_dense_patches_come_out_of_a_stock_tower(activation):
    encoder = clip(activation)
    assert encoder.model.config.vision.dense == "identity_attention"
    model, reading = vision_tower(encoder, "dense")
    assert isinstance(model, CLIPVisionModel) and model.config.num_hidden_layers == 3
    hidden = model(pixel_values=pixels(), output_hidden_states=True).hidden_states[reading.vision_feature_layer]
    normed = encoder.model.vision.norm(hidden[:, 1:])
    torch.testing.assert_close(normed, encoder.model.vision(pixels()).patches, rtol=0, atol=1e-4)


@torch.no_grad()
def test_siglips_positions_are_resized_as_our_own_are():
    encoder = siglip()
    model, reading = vision_tower(encoder, size=48)
    hidden = model(pixel_values=pixels(48), output_hidden_states=True).hidden_states[-2]
    tower = encoder.model.vision
    torch.testing.assert_close(hidden, tower(pixels(48), taps=(1,)).taps[0], rtol=0, atol=1e-4)
    assert reading.tokens == 36


def llava(model, reading, strategy=None):
    text = LlamaConfig(
        vocab_size=120,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    config = LlavaConfig(
        vision_config=model.config,
        text_config=text,
        image_token_index=119,
        vision_feature_layer=reading.vision_feature_layer,
        vision_feature_select_strategy=strategy or reading.vision_feature_select_strategy,
    )
    return LlavaForConditionalGeneration(config).eval()


@torch.no_grad()
@pytest.mark.parametrize(("make", "kind"), [(clip, CLIPVisionModel), (siglip, SiglipVisionModel)])
@pytest.mark.parametrize("layer", ["penultimate", "dense"])
def test_a_llava_takes_the_folder_and_exactly_its_tokens(tmp_path, make, kind, layer):
    reading = save_vision_tower(make(), tmp_path / "tower", layer)
    model, report = kind.from_pretrained(tmp_path / "tower", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert json.loads((tmp_path / "tower" / "vision_tower.json").read_text())["image_size"] == 32
    whole = llava(model, reading)
    for tokens, fits in ((16, True), (15, False), (17, False)):
        ids = torch.full((2, tokens + 3), 7)
        ids[:, 1 : 1 + tokens] = 119
        if fits:
            assert whole(input_ids=ids, pixel_values=pixels()).logits.shape == (2, 19, 120)
        else:
            with pytest.raises(ValueError, match="do not match"):
                whole(input_ids=ids, pixel_values=pixels())


def test_settings_that_drop_a_patch_in_silence_are_refused():
    with pytest.raises(ValueError, match="no class token: a patch would be dropped"):
        Reading(-2, "default", 8, 0, 32)
    with pytest.raises(ValueError, match=r"no whole number of patches of 14.*Take 322"):
        Reading(-2, "default", 14, 1, 335)
    assert Reading(-2, "default", 14, 1, 336).tokens == 576  # LLaVA-1.5


def test_towers_and_layers_that_transformers_lacks_are_refused():
    with pytest.raises(ValueError, match="'attention_head', which SiglipVisionModel has not"):
        vision_tower(siglip("attention_head"), "dense")
    with pytest.raises(ValueError, match="sees 32 pixels, not 64"):
        vision_tower(clip(), size=64)
    narrow = replace(tiny(), vision=replace(tiny().vision, mlp_width=40, dense="identity_attention"))
    with pytest.raises(ValueError, match=r"at least twice as wide as the tower, 64, and this one's is 40"):
        vision_tower(randomized(narrow), "dense")


@pytest.mark.parametrize("shape", ["pad", "squash", "crop"])
def test_pictures_become_squares_as_asked(tmp_path, shape):
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    encoder = clip()
    save_vision_tower(encoder, tmp_path / "tower", shape=shape)
    processor = LlavaImageProcessorPil.from_pretrained(tmp_path / "tower")
    picture = Image.new("RGB", (64, 16), (255, 255, 255))
    values = processor(picture, return_tensors="pt").pixel_values
    assert values.shape == (1, 3, 32, 32)
    white = (1 - torch.tensor(encoder.protocol.mean)) / torch.tensor(encoder.protocol.std)
    corner, middle = values[0, :, 0, 0], values[0, :, 16, 16]
    torch.testing.assert_close(middle, white, rtol=0, atol=1e-3)
    assert (corner.abs().max() < 0.02) == (shape == "pad")  # the mean color


def test_convert_writes_the_folder_of_a_tower(tmp_path, capsys):
    clip().save(tmp_path / "model")
    words = ["convert", str(tmp_path / "model"), "--out", str(tmp_path / "tower"), "--to", "vision-tower"]
    assert main([*words, "--layer", "dense"]) == 0
    assert "16 image tokens" in capsys.readouterr().out
    assert isinstance(AutoModel.from_pretrained(tmp_path / "tower"), CLIPVisionModel)
