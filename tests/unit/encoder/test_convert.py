"""Models go through every layout and come back bit for bit; what reads the layout elsewhere computes the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.encoder.convert import convert, upgraded
from foveal.encoder.load import load
from foveal.models.config import TextConfig, VisionConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import fg_clip, fg_clip2, finelip, long_text, siglip2_b_16, tiny

TEXTS = ["a cat", "two small dogs on a red tile, one of them asleep", ""]


def wide():
    """A CLIP whose heads are 64 wide, as all are that OpenAI's layout can hold."""
    vision = VisionConfig(width=64, layers=2, heads=1, mlp_width=96, patch_size=8, image_size=32)
    return replace(tiny(), vision=vision, text=TextConfig(width=64, layers=1, heads=1, mlp_width=80))


def encoder_of(config, **protocol):
    model = DualEncoder(config).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.15)
    chosen = Protocol(**{"family": "clip", "resize": "crop"} | protocol)
    tokenizer = Tokenizer.clip(chosen.cleaning)
    return Encoder(model, tokenizer, chosen.transform(config.vision), protocol=chosen)


def usual(layout):
    """What the readers of a layout take pictures and texts to be prepared with."""
    return {"crop_rounding": "floor", "cleaning": "nfc"} if layout == "hf-clip" else {"crop_rounding": "half_even"}


def picture(width=61, height=40):
    colors = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(colors)


def same(mine, theirs):
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


@pytest.mark.parametrize(
    ("layout", "variant", "name"),
    [
        ("foveal", fg_clip, "out"),
        ("hf-clip", lambda config: config, "out"),
        ("open-clip", lambda config: config, "out"),
        ("long-clip", long_text, "out.pt"),
        ("long-clip", finelip, "out.pt"),
    ],
)
def test_ours_through_a_layout_and_back_is_ours_bit_for_bit(tmp_path, layout, variant, name):
    encoder = encoder_of(variant(wide()), **usual(layout))
    assert convert(encoder, tmp_path / name, layout) == ()
    back = load(tmp_path / name, device="cpu")
    same(back.model.state_dict(), encoder.model.state_dict())
    told = ("resize", "mean", "std", "resample", "crop_rounding", "cleaning", "lower_case")
    assert [getattr(back.protocol, each) for each in told] == [getattr(encoder.protocol, each) for each in told]
    # the weights are the same bits; where they lie in memory decides about the last bit of a product on some machines
    torch.testing.assert_close(back.encode_texts(TEXTS), encoder.encode_texts(TEXTS), rtol=0, atol=1e-6)
    torch.testing.assert_close(back.encode_images([picture()]), encoder.encode_images([picture()]), rtol=0, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("layout", "resize"), [("hf-clip", "squash"), ("open-clip", "squash"), ("hf-clip", "crop")])
def test_the_way_with_pictures_survives(tmp_path, layout, resize):
    gray = {"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.6, 0.7), "resample": "bilinear"}
    convert(encoder_of(wide(), resize=resize, **gray), tmp_path / "out", layout)
    back = load(tmp_path / "out", device="cpu").protocol
    assert (back.resize, back.mean, back.std, back.resample) == (resize, *gray.values())


@pytest.mark.parametrize(
    ("layout", "rounding", "lost"),
    [
        ("foveal", "half_even", ()),
        ("foveal", "floor", ()),
        ("hf-clip", "half_even", ("protocol.crop_rounding=half_even",)),
        ("hf-clip", "floor", ()),
        ("open-clip", "half_even", ()),
        ("open-clip", "floor", ("protocol.crop_rounding=floor",)),
        ("long-clip", "half_even", ()),
        ("long-clip", "floor", ("protocol.crop_rounding=floor",)),
    ],
)
def test_how_the_middle_is_rounded_survives_or_is_told_as_lost(tmp_path, layout, rounding, lost):
    encoder = encoder_of(long_text(wide()), **usual(layout) | {"crop_rounding": rounding})
    out = tmp_path / ("out.pt" if layout == "long-clip" else "out")
    assert convert(encoder, out, layout) == lost
    back = load(out, device="cpu").protocol.crop_rounding
    assert back == (rounding if not lost else {"floor": "half_even", "half_even": "floor"}[rounding])
    squashing = encoder_of(long_text(wide()), resize="squash", crop_rounding=rounding)
    other = tmp_path / ("other.pt" if layout == "long-clip" else "other")
    assert not [part for part in convert(squashing, other, layout) if "crop_rounding" in part]


@pytest.mark.parametrize(
    ("layout", "cleaning"),
    [("foveal", "ftfy"), ("foveal", "nfc"), ("hf-clip", "nfc"), ("open-clip", "ftfy"), ("long-clip", "ftfy")],
)
def test_how_texts_are_cleaned_survives_or_is_told_as_lost(tmp_path, layout, cleaning):
    for number, written in enumerate((cleaning, "nfc" if cleaning == "ftfy" else "ftfy")):
        encoder = encoder_of(long_text(wide()), **usual(layout) | {"cleaning": written})
        out = tmp_path / (f"{number}.pt" if layout == "long-clip" else str(number))
        kept = layout == "foveal" or written == cleaning
        assert convert(encoder, out, layout) == (() if kept else (f"protocol.cleaning={written}",))
        assert load(out, device="cpu").tokenizer.cleaning == (written if kept else cleaning)


def test_a_file_without_config_says_what_it_cannot_hold(tmp_path):
    encoder = encoder_of(long_text(wide()), resize="squash")
    assert convert(encoder, tmp_path / "out.pt", "long-clip") == ("protocol.resize=squash",)


def test_a_long_clip_of_others_comes_back_to_its_layout_in_all_that_is_read(tmp_path):
    convert(encoder_of(finelip(wide())), tmp_path / "first.pt", "long-clip")
    theirs = torch.load(tmp_path / "first.pt", weights_only=True)
    theirs["positional_embedding"][20:] = 7.0  # rows that nobody reads
    theirs["positional_embedding_res"][:20] = -7.0
    theirs["cross_net.aggr_net.weight.3.bias"] += 3.0
    torch.save(theirs, tmp_path / "theirs.pt")
    convert(load(tmp_path / "theirs.pt", device="cpu"), tmp_path / "ours", "foveal")
    convert(load(tmp_path / "ours", device="cpu"), tmp_path / "again.pt", "long-clip")
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    for tensors in (theirs, again):
        tensors["positional_embedding"][20:] = tensors["positional_embedding_res"][:20] = 0.0
        tensors["cross_net.aggr_net.weight.3.bias"].zero_()
    same(again, theirs)


def test_what_transformers_saved_comes_back_to_it_bit_for_bit(tmp_path):
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = tower | {"image_size": 32, "patch_size": 8, "hidden_act": "gelu"}
    theirs = CLIPModel(CLIPConfig(text_config=tower, vision_config=vision, projection_dim=24))
    theirs.save_pretrained(tmp_path / "theirs")
    convert(load(tmp_path / "theirs", device="cpu"), tmp_path / "ours", "foveal")
    convert(load(tmp_path / "ours", device="cpu"), tmp_path / "again", "hf-clip")
    same(load_file(tmp_path / "again/model.safetensors"), load_file(tmp_path / "theirs/model.safetensors"))
    same(CLIPModel.from_pretrained(tmp_path / "again").state_dict(), theirs.state_dict())


def test_what_open_clip_saved_comes_back_to_it_bit_for_bit(tmp_path):
    convert(encoder_of(wide()), tmp_path / "theirs", "open-clip")
    convert(load(tmp_path / "theirs", device="cpu"), tmp_path / "again", "open-clip")
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


@torch.no_grad()
@pytest.mark.parametrize(("variant", "kind"), [(long_text, "caption"), (fg_clip, "caption"), (fg_clip, "long_caption")])
def test_parity_transformers_reads_all_of_its_models_from_it(tmp_path, variant, kind):
    encoder = encoder_of(variant(tiny()), resize="squash")
    convert(encoder, tmp_path / "out", "hf-clip", kind)
    limit = encoder.model.config.text.length(kind)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "out")
    inputs = tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape == (3, limit)
    mine = encoder.encode_texts(TEXTS, kind)
    pixels = encoder.transform.stack([encoder.transform(picture())])

    def load_as(kind_of_model):
        return kind_of_model.from_pretrained(tmp_path / "out").eval()

    whole = load_as(CLIPModel)
    for text_embeds in (
        whole.text_projection(load_as(CLIPTextModel)(**inputs).pooler_output),
        load_as(CLIPTextModelWithProjection)(**inputs).text_embeds,
        whole(**inputs, pixel_values=pixels).text_embeds,
    ):
        torch.testing.assert_close(F.normalize(text_embeds, dim=-1), mine, rtol=0, atol=1e-5)
    seen = encoder.encode_images([picture()])
    for image_embeds in (
        whole.visual_projection(load_as(CLIPVisionModel)(pixels).pooler_output),
        load_as(CLIPVisionModelWithProjection)(pixels).image_embeds,
    ):
        torch.testing.assert_close(F.normalize(image_embeds, dim=-1), seen, rtol=0, atol=1e-5)


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_parity_the_processor_of_transformers_prepares_pictures_as_we_do(tmp_path, resize):
    from transformers import AutoImageProcessor

    encoder = encoder_of(tiny(), resize=resize)
    convert(encoder, tmp_path / "out", "hf-clip")
    theirs = AutoImageProcessor.from_pretrained(tmp_path / "out")(picture(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(encoder.transform.stack([encoder.transform(picture())]), theirs, rtol=0, atol=1e-5)


def test_the_readers_config_names_the_tower_that_was_asked_for(tmp_path):
    convert(encoder_of(fg_clip(tiny())), tmp_path / "out", "hf-clip", "long_caption")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["text_config"]["max_position_embeddings"] == 248
    assert json.loads((tmp_path / "out/tokenizer_config.json").read_text())["model_max_length"] == 248


def native():
    config = siglip2_b_16()
    tower = {"width": 16, "layers": 1, "heads": 2, "mlp_width": 32}
    vision, text = replace(config.vision, **tower, image_size=32), replace(config.text, **tower, vocabulary=50)
    return encoder_of(replace(config, vision=vision, text=text, embed_width=16), resize="naflex", family="siglip2")


@pytest.mark.parametrize(
    ("make", "name", "layout", "said"),
    [
        (native, "out", "hf-clip", "Layout hf-clip is for models with a class token"),
        (lambda: encoder_of(tiny(), resize="naflex"), "out", "hf-clip", "Layout hf-clip is for square pictures"),
        (lambda: encoder_of(wide()), "out.pt", "long-clip", "this model has 77 for kind 'caption'"),
        (lambda: encoder_of(long_text(wide())), "out", "long-clip", "Name it out.pt, not out."),
        (lambda: encoder_of(wide()), "used", "hf-clip", "used is in use. Choose another name."),
        (lambda: encoder_of(wide()), "out", "onnx", "There is no layout 'onnx'. There are: foveal, hf-clip"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_line_and_leaves_nothing(tmp_path, unchecked, make, name, layout, said):
    (tmp_path / "used").mkdir()
    (tmp_path / "used/mine").touch()
    with pytest.raises(ValueError, match=said) as error:
        convert(make(), tmp_path / name, layout)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "used"]


def test_a_crash_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("foveal.encoder.convert.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        convert(encoder_of(wide()), tmp_path / "out", "hf-clip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("to", "name", "resize"), [("long", "long_clip", "crop"), ("fg_clip", "fg_clip", "squash")])
def test_an_upgraded_clip_knows_short_texts_as_before_and_its_new_familys_way(tmp_path, to, name, resize):
    before = encoder_of(tiny())
    convert(upgraded(before, to), tmp_path / "out", "foveal")
    after = load(tmp_path / "out", device="cpu")
    assert (after.protocol.family, after.protocol.resize) == (name, resize)
    assert after.model.config.text.length("long_caption") == 248
    for kind in ("caption", "long_caption", "phrase"):  # up to 20 tokens lie on the kept positions
        torch.testing.assert_close(after.encode_texts(TEXTS, kind), before.encode_texts(TEXTS), rtol=0, atol=1e-6)
    pixels = before.transform.stack([before.transform(picture())])
    torch.testing.assert_close(after.model.encode_images(pixels), before.model.encode_images(pixels), rtol=0, atol=1e-6)


def test_what_starts_at_random_follows_the_seed():
    clip = encoder_of(tiny())
    first, same_seed, other = (upgraded(clip, "finelip", seed).model.state_dict() for seed in (0, 0, 1))
    same(first, same_seed)
    differ = {name.partition(".")[0] for name in first if not torch.equal(first[name], other[name])}
    assert differ == {"image_refiner", "text_refiner"}


def test_a_siglip2_becomes_an_fg_clip2():
    new = upgraded(native(), "fg_clip2")
    assert (new.protocol.family, new.protocol.max_patches) == ("fg_clip2", 1024)
    assert new.model.config == fg_clip2(native().model.config)


@pytest.mark.parametrize(
    ("make", "to", "said"),
    [
        (lambda: encoder_of(long_text(tiny())), "fg_clip", "reads 248 tokens already"),
        (lambda: encoder_of(tiny()), "fg_clip2", "'fg_clip2' is made of a SigLIP 2, and this is none"),
        (native, "long", "'long' is made of a CLIP, and this is none"),
        (lambda: encoder_of(tiny()), "flair", "no architecture 'flair'. There are: long, fg_clip, finelip, fg_clip2"),
    ],
)
def test_what_cannot_be_upgraded_is_refused_in_a_line(unchecked, make, to, said):
    with pytest.raises(ValueError, match=said):
        upgraded(make(), to)
