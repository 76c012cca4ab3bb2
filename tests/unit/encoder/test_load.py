"""Every family behind one door: checkpoints in the public layouts give what their own libraries give."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, MetaClip2Config, MetaClip2Model, SiglipConfig, SiglipModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

import foveal
from foveal.data.tokenizer import Tokenizer
from foveal.data.tokenizer_files import write
from foveal.encoder.checkpoint import licence_of
from foveal.encoder.load import load_once
from foveal.encoder.protocol import Protocol
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.models.weights import save

TEXTS = ["A red cat", "the small dog on a tile", "a dog"]
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


def close(ours, theirs):
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, F.normalize(theirs, dim=-1), rtol=0, atol=1e-5)


def clip_of_wide_heads(layouts, context=77, text_heads=1, **options):
    """Heads 64 wide, as in every checkpoint of OpenAI's layout."""
    tower = {"hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 1} | options
    text = tower | {"max_position_embeddings": context, "eos_token_id": 49407, "num_attention_heads": text_heads}
    vision = tower | {"image_size": 32, "patch_size": 8}
    return layouts.randomized(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)))


def in_transformers(photos, size=32):
    """Pictures as the library prepares them: it rounds the middle down."""
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return processor(photos, return_tensors="pt")["pixel_values"]


def in_torchvision(photos, size=32, mean=MEAN, std=STD):
    """Pictures as `Resize`, `CenterCrop`, `ToTensor` and `Normalize` prepare them: halves go to the even pixel."""
    rows = []
    for photo in photos:
        scaled = photo.resize([int(size * side / min(photo.size)) for side in photo.size], Image.Resampling.BICUBIC)
        left, top = (round((side - size) / 2) for side in scaled.size)
        rows.append((np.asarray(scaled)[top : top + size, left : left + size] / 255 - mean) / std)
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float()


@torch.no_grad()
def check_clip(encoder, clip, photos, context=77, kind="caption", prepared=in_transformers):
    """Both towers of a CLIP, with pictures as its own library prepares them."""
    pixels = prepared(photos, clip.config.vision_config.image_size)
    close(encoder.encode_images(photos), clip.visual_projection(clip.vision_model(pixels).pooler_output))
    ids = Tokenizer.clip().encode(TEXTS, context)
    close(encoder.encode_texts(TEXTS, kind), clip.text_projection(clip.text_model(ids).pooler_output))


def write_transformers(folder, state, config, processor=None):
    folder.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_dict(), default=str))
    if processor is not None:
        processor.save_pretrained(folder)


def test_parity_clip_of_transformers(layouts, photos, tmp_path):
    clip = layouts.their_clip()
    clip.save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("---\nlibrary_name: x\nlicense: mit\n---\n# A model")
    encoder = foveal.load(tmp_path)
    check_clip(encoder, clip, photos)
    expected = Protocol(family="clip", resize="crop", source=tmp_path.name, licence="mit", cleaning="nfc")
    assert encoder.protocol == expected


def test_shards_are_one_checkpoint(layouts, photos, tmp_path):
    clip = layouts.their_clip()
    clip.save_pretrained(tmp_path, max_shard_size="40KB")
    assert not (tmp_path / "model.safetensors").exists()
    check_clip(foveal.load(str(tmp_path)), clip, photos)
    next(tmp_path.glob("model-00002-*")).unlink()
    with pytest.raises(ValueError, match=r"There is no .*model-00002-of"):
        foveal.load(tmp_path)


def test_an_index_of_shards_may_not_lead_elsewhere(tmp_path):
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text('{"vision_config": {}}')
    with pytest.raises(ValueError, match=r"names '\.\./secret\.safetensors', which lies outside"):
        foveal.load(tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 30])
def test_parity_siglip_of_one_size(layouts, photos, tmp_path, write_tokenizer, pad_to, size):
    """Of 30 pixels, patches of 8 leave 6 over, as 14 do of 384 in SigLIP's So400m."""
    text = layouts.TOWER | {"vocab_size": 100, "max_position_embeddings": 16}
    config = SiglipConfig(text_config=text, vision_config=layouts.TOWER | {"image_size": size, "patch_size": 8})
    siglip = layouts.randomized(SiglipModel(config))
    siglip.save_pretrained(tmp_path)
    processor = SiglipImageProcessorPil(size={"height": size, "width": size}, resample=2)
    processor.save_pretrained(tmp_path)
    backend = write_tokenizer(tmp_path, pad="<eos>")
    encoder = foveal.load(tmp_path)
    pixels = processor(photos, return_tensors="pt")["pixel_values"]
    close(encoder.encode_images(photos), siglip.vision_model(pixels).pooler_output)
    ids = pad_to(backend, [text.lower() for text in TEXTS], 16, pad=1)
    close(encoder.encode_texts(TEXTS), siglip.text_model(ids).pooler_output)
    assert encoder.protocol.family == "siglip"
    assert encoder.encode_patches(photos).shape == (3, size // 8, size // 8, 32)


@torch.no_grad()
def test_parity_siglip2_of_any_aspect(layouts, photos, tmp_path, write_tokenizer, pad_to):
    siglip = layouts.their_siglip2()
    siglip.save_pretrained(tmp_path)
    processor = Siglip2ImageProcessorPil(patch_size=4, max_num_patches=30)
    processor.save_pretrained(tmp_path)
    backend = write_tokenizer(tmp_path)
    encoder = foveal.load(tmp_path)
    inputs = processor(photos, return_tensors="pt")
    theirs = siglip.vision_model(inputs["pixel_values"], inputs["pixel_attention_mask"], inputs["spatial_shapes"])
    close(encoder.encode_images(photos), theirs.pooler_output)
    ids = pad_to(backend, [text.lower() for text in TEXTS], 64)
    close(encoder.encode_texts(TEXTS), siglip.text_model(ids).pooler_output)
    patches = encoder.encode_patches(photos)
    assert [tuple(each.shape[:2]) for each in patches] == [tuple(shape) for shape in inputs["spatial_shapes"].tolist()]


@torch.no_grad()
def test_parity_fg_clip(layouts, photos, tmp_path):
    """Pictures are squashed although the file beside the weights is CLIP's, which says crop."""
    short, long = layouts.their_clip(), layouts.their_clip(248)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    write_transformers(tmp_path, layouts.fg_clip_state(short, long), short.config, processor)
    encoder = foveal.load(tmp_path)
    squashed = np.stack([np.asarray(photo.resize((32, 32))) for photo in photos]) / 255
    pixels = torch.from_numpy((squashed - MEAN) / STD).permute(0, 3, 1, 2).float()
    close(encoder.encode_images(photos), short.visual_projection(short.vision_model(pixels).pooler_output))
    words = " ".join(["word"] * 100)
    ids = Tokenizer.clip().encode([words], 248)
    kept = {name: value for name, value in short.text_model.state_dict().items() if "position" not in name}
    long.text_model.load_state_dict(kept, strict=False)
    close(encoder.encode_texts([words], "long_caption"), long.text_projection(long.text_model(ids).pooler_output))
    patches = encoder.encode_patches(photos)
    assert patches.shape == (3, 4, 4, 24)
    assert (encoder.protocol.family, encoder.protocol.resize) == ("fg_clip", "squash")


@torch.no_grad()
def test_parity_fg_clip2(layouts, photos, tmp_path, write_tokenizer, pad_to):
    """A picture gets the smallest bucket that holds its own patches: 108 of 4 pixels make 128, 176 make 256."""
    siglip = layouts.their_siglip2()
    state = layouts.fg_clip2_state(siglip, siglip.vision_model.head)
    write_transformers(tmp_path, state, siglip.config)
    backend = write_tokenizer(tmp_path)
    encoder = foveal.load(tmp_path)
    for photo, bucket in zip(photos, (128, 128, 256), strict=True):
        inputs = Siglip2ImageProcessorPil(patch_size=4, max_num_patches=bucket)([photo], return_tensors="pt")
        theirs = siglip.vision_model(inputs["pixel_values"], inputs["pixel_attention_mask"], inputs["spatial_shapes"])
        close(encoder.encode_images([photo]), theirs.pooler_output)
    ids = pad_to(backend, [text.lower() for text in TEXTS], 64)
    last = siglip.text_model(ids).last_hidden_state[:, -1]
    close(
        encoder.encode_texts(TEXTS, "phrase"), F.linear(last, state["boxtext_head.weight"], state["boxtext_head.bias"])
    )
    assert encoder.protocol.family == "fg_clip2"
    assert encoder.tokenizer.encode(["a"], 64).tolist() == [[4, 1] + [0] * 62]


def open_clip_folder(folder, state, **changes):
    """A folder as open_clip writes it: its own config, its own names."""
    model = {"embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}}
    model["text_cfg"] = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear", "resize_mode": "squash"}
    config = {"model_cfg": model | changes, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in state.items()}, folder / "open_clip_model.safetensors"
    )


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "text."])
def test_parity_open_clip(layouts, photos, tmp_path, prefix):
    """Its vision heads are 64 wide unless it says otherwise, its activation is GELU, its preprocessing its own."""
    clip = clip_of_wide_heads(layouts, text_heads=2, hidden_act="gelu")
    state = layouts.openai_state(clip)
    visual = {name: tensor for name, tensor in state.items() if name.startswith("visual") or name == "logit_scale"}
    state = visual | {prefix + name: tensor for name, tensor in state.items() if name not in visual}
    open_clip_folder(tmp_path, state)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit", "num_classes": 3}))  # timm's, beside it
    encoder = foveal.load(tmp_path)
    pixels = np.stack([np.asarray(photo.resize((32, 32), 2)) for photo in photos]) / 255
    pixels = torch.from_numpy((pixels - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]).permute(0, 3, 1, 2).float()
    close(encoder.encode_images(photos), clip.visual_projection(clip.vision_model(pixels).pooler_output))
    ids = Tokenizer.clip().encode(TEXTS, 77)
    close(encoder.encode_texts(TEXTS), clip.text_projection(clip.text_model(ids).pooler_output))


def test_what_open_clip_can_and_foveal_cannot_is_refused_by_name(layouts, tmp_path):
    state = layouts.openai_state(clip_of_wide_heads(layouts))
    open_clip_folder(tmp_path, state, vision_cfg={"timm_model_name": "vit_base", "image_size": 32})
    with pytest.raises(ValueError, match=r"option vision_cfg\.timm_model_name = 'vit_base': image towers of timm"):
        foveal.load(tmp_path)


def test_parity_openai_state_dictionary(layouts, photos, tmp_path):
    clip = clip_of_wide_heads(layouts)
    state = layouts.openai_state(clip) | layouts.ARCHIVE_NUMBERS
    torch.save(state, tmp_path / "ViT.pt")
    encoder = foveal.load(tmp_path / "ViT.pt")
    check_clip(encoder, clip, photos, prepared=in_torchvision)
    assert encoder.protocol == Protocol(family="clip", resize="crop", crop_rounding="half_even", source="ViT.pt")
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "wrapped.pt")
    check_clip(foveal.load(tmp_path / "wrapped.pt"), clip, photos, prepared=in_torchvision)


@torch.no_grad()
def test_the_middle_is_rounded_as_the_familys_own_code_does(layouts, photos, tmp_path):
    """Two of three pictures part: 43 x 32 begins at 5 or 6, 32 x 87 at 27 or 28."""
    clip = clip_of_wide_heads(layouts, hidden_act="gelu")
    theirs, opened = tmp_path / "transformers", tmp_path / "open_clip"
    clip.save_pretrained(theirs)
    opened.mkdir()
    open_clip_folder(opened, layouts.openai_state(clip))
    model = json.loads((opened / "open_clip_config.json").read_text())["model_cfg"]
    model["text_cfg"]["heads"] = 1
    cropping = {"mean": list(MEAN), "std": list(STD), "interpolation": "bicubic", "resize_mode": "shortest"}
    for preprocessing in ({"preprocess_cfg": cropping}, {}):
        (opened / "open_clip_config.json").write_text(json.dumps({"model_cfg": model} | preprocessing))
        check_clip(foveal.load(opened), clip, photos, prepared=in_torchvision)
    (opened / "config.json").write_text(json.dumps({"architecture": "vit"}))
    (opened / "preprocessor_config.json").write_text(json.dumps({"do_center_crop": True}))  # of other weights
    check_clip(foveal.load(opened), clip, photos, prepared=in_torchvision)
    check_clip(foveal.load(theirs), clip, photos, prepared=in_transformers)
    apart = (in_transformers(photos) - in_torchvision(photos)).abs().amax(dim=(1, 2, 3))
    assert [bool(each > 0.05) for each in apart] == [True, False, True]


def test_a_model_folder_goes_on_as_it_was_written(layouts, photos, tmp_path):
    """Folders of earlier releases say nothing of the middle's rounding, and were used rounded down."""
    state = layouts.openai_state(clip_of_wide_heads(layouts)) | layouts.ARCHIVE_NUMBERS
    torch.save(state, tmp_path / "ViT.pt")
    foveal.load(tmp_path / "ViT.pt").save(tmp_path / "ours")
    file = tmp_path / "ours" / "protocol.json"
    assert foveal.load(tmp_path / "ours").protocol.crop_rounding == "half_even"
    earlier = (
        '{"family": "clip", "resize": "crop", "mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, '
        '0.26130258, 0.27577711], "resample": "bicubic", "max_patches": 256, "buckets": [], "lower_case": false, '
        '"drop_punctuation": false, "source": "ViT.pt", "revision": "", "licence": ""}'
    )
    assert json.loads(file.read_text()).keys() - json.loads(earlier).keys() == {"crop_rounding", "cleaning", "training"}
    file.write_text(earlier)
    encoder = foveal.load(tmp_path / "ours")
    pixels = encoder.transform.stack([encoder.transform(photo) for photo in photos])
    torch.testing.assert_close(pixels, in_transformers(photos), rtol=0, atol=1e-5)


@torch.no_grad()
def test_parity_long_clip_and_finelip_files(layouts, photos, tmp_path):
    """Both tables hold rows that are never read."""
    clip = clip_of_wide_heads(layouts, 248)
    state = layouts.finelip_state(clip, slots=3, hidden=4)
    plain = {name: tensor for name, tensor in state.items() if "cross_net" not in name}
    for name, tensors in (("longclip.pt", plain), ("finelip.pt", state)):
        torch.save(tensors, tmp_path / name)
        encoder = foveal.load(tmp_path / name)
        for kind in ("caption", "long_caption"):
            check_clip(encoder, clip, photos, 248, kind, in_torchvision)
    assert encoder.protocol.family == "finelip"
    tokens, mask = encoder.encode_tokens(pictures=photos)
    assert tokens.shape == (3, 4, 24)
    assert mask.all()


def test_saved_and_loaded_again_is_the_same(layouts, photos, tmp_path, write_tokenizer):
    siglip = layouts.their_siglip2()
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    siglip.save_pretrained(theirs)
    write_tokenizer(theirs)
    before = foveal.load(theirs)
    before.save(ours)
    after = foveal.load(ours)
    assert after.protocol == before.protocol
    assert after.model.config == before.model.config
    assert torch.equal(after.encode_images(photos), before.encode_images(photos))
    assert torch.equal(after.encode_texts(TEXTS), before.encode_texts(TEXTS))
    names = {"config.json", "model.safetensors", "protocol.json", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in ours.iterdir()} == names


def test_a_folder_without_protocol_is_read_as_before(photos, tmp_path):
    save(DualEncoder(tiny()), tmp_path)
    encoder = foveal.load(tmp_path)
    assert encoder.protocol == Protocol(family="clip", resize="squash")
    encoder.encode_images(photos)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"resize": "stretch"}', "protocol.json: resize is 'stretch'. It must be one of squash, crop, naflex"),
        ('{"colour": 1}', "protocol.json has no field 'colour'"),
        ('{"mean": [1.0, 2.0]}', r"protocol.json: mean is \[1.0, 2.0\]"),
        ("{", "protocol.json is no JSON"),
    ],
)
def test_a_broken_protocol_is_named(tmp_path, written, said):
    save(DualEncoder(tiny()), tmp_path)
    (tmp_path / "protocol.json").write_text(written)
    with pytest.raises(ValueError, match=said):
        foveal.load(tmp_path)


@torch.no_grad()
def test_parity_on_real_photos(layouts, shared_data, tmp_path):
    """Files are decoded, scaled and cut as the library does it, to the last bit."""
    paths = sorted((shared_data / "coco").rglob("*.jpg"))[:6]
    vision = layouts.TOWER | {"image_size": 224, "patch_size": 32}
    text = layouts.TOWER | {"eos_token_id": 49407}
    clip = layouts.randomized(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)))
    clip.save_pretrained(tmp_path)
    pixels = CLIPImageProcessorPil()([Image.open(path) for path in paths], return_tensors="pt")["pixel_values"]
    close(foveal.load(tmp_path).encode_images(paths), clip.visual_projection(clip.vision_model(pixels).pooler_output))


def test_a_malicious_checkpoint_is_refused_at_the_door(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"visual.conv1.weight": Payload()}, tmp_path / "ViT.pt")
    with pytest.raises(ValueError, match=r"ViT\.pt would run \S*open if it were opened, so it was not"):
        foveal.load(tmp_path / "ViT.pt")
    assert not (tmp_path / "owned").exists()


def test_a_folder_has_no_revisions(tmp_path):
    with pytest.raises(ValueError, match=r"has no revisions\. Leave out 'v1'"):
        foveal.load(tmp_path, revision="v1")


def test_what_is_not_there_or_of_no_family_is_told(tmp_path):
    with pytest.raises(ValueError, match="There is no nowhere, neither a folder nor a file"):
        foveal.load("nowhere")
    with pytest.raises(ValueError, match=r"There is no .*model\.safetensors"):
        foveal.load(tmp_path)
    save_file({"bert.pooler.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="is of a model 'bert', no pair of towers"):
        foveal.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip", "vision_config": {}, "text_config": {}}))
    with pytest.raises(ValueError, match=r"model.safetensors: The checkpoint has no tensor for 'vision\.position'"):
        foveal.load(tmp_path)


def test_nan_shape_and_strangers_of_a_public_checkpoint_are_named(layouts, tmp_path):
    clip = layouts.their_clip()
    state = clip.state_dict()
    for change, said in (
        ({"visual_projection.weight": torch.full_like(state["visual_projection.weight"], float("nan"))}, "holds NaN"),
        ({"logit_scale": torch.zeros(3)}, r"Tensor log_scale has shape \(3,\)"),
        ({"adapter.weight": torch.zeros(3)}, r"1 tensors unexpected: adapter\.weight"),
    ):
        write_transformers(tmp_path, state | change, clip.config)
        with pytest.raises(ValueError, match=said):
            foveal.load(tmp_path)


def test_siglip_needs_its_tokenizer(layouts, tmp_path):
    layouts.their_siglip2().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"holds no tokenizer\.json"):
        foveal.load(tmp_path)


def test_brain_floats_give_nearly_the_same(layouts, photos, tmp_path):
    clip = layouts.their_clip()
    clip.save_pretrained(tmp_path)
    fine, coarse = foveal.load(tmp_path), foveal.load(tmp_path, dtype=torch.bfloat16, device="cpu")
    assert (F.cosine_similarity(fine.encode_images(photos), coarse.encode_images(photos)) > 0.99).all()
    assert (F.cosine_similarity(fine.encode_texts(TEXTS), coarse.encode_texts(TEXTS)) > 0.99).all()


def hub_cache(root, folder, commit="c0ffee" * 6 + "beef"):
    """A snapshot as the hub's client keeps it."""
    repository = root / "models--someone--some-clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    folder.rename(repository / "snapshots" / commit)
    return commit


def test_a_hub_name_is_read_from_the_cache_without_a_network(layouts, photos, tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    theirs, cache = tmp_path / "theirs", tmp_path / "cache"
    clip = layouts.their_clip()
    clip.save_pretrained(theirs)
    (theirs / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    commit = hub_cache(cache, theirs)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    encoder = foveal.load("someone/some-clip")
    check_clip(encoder, clip, photos)
    hub = {"source": "someone/some-clip", "revision": commit, "licence": "apache-2.0"}
    expected = Protocol(family="clip", resize="crop", cleaning="nfc", **hub)
    assert encoder.protocol == expected
    assert foveal.load("someone/some-clip", revision=commit).protocol == expected
    with pytest.raises(ValueError, match="'someone/other' can't be had from the hub: Cannot find"):
        foveal.load("someone/other")
    with pytest.raises(ValueError, match="'someone/some-clip' at 'v9' can't be had"):
        foveal.load("someone/some-clip", revision="v9")


def test_only_data_and_one_set_of_weights_is_asked_of_the_hub(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(name, revision=None, allow_patterns=()):
        asked.append((name, revision, allow_patterns))
        (tmp_path / "config.json").write_text('{"vision_config": {}}')
        if "pytorch_model.bin" in allow_patterns:
            (tmp_path / "pytorch_model.bin").touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is no whole file of tensors"):
        foveal.load("someone/old", revision="v1")
    patterns = [pattern for _, _, patterns in asked for pattern in patterns]
    assert not [pattern for pattern in patterns if pattern.endswith((".py", "*"))] or patterns[:3] == asked[0][2]
    assert [revision for _, revision, _ in asked] == ["v1", tmp_path.name, tmp_path.name]
    assert patterns[3:] == ["model.safetensors", "pytorch_model.bin"]


def test_protocol_survives_its_file(tmp_path):
    protocol = Protocol(family="fg_clip2", resize="naflex", mean=(0.1, 0.2, 0.3), buckets=(4, 9), revision="abc")
    protocol.write(tmp_path)
    assert Protocol.read(tmp_path) == protocol
    assert replace(protocol, licence="mit") != Protocol.read(tmp_path)


def beside(folder, name):
    """The embeddings of a folder, and of one of its files."""
    pictures = [Image.new("RGB", (40, 30), color) for color in ("red", "teal")]
    whole, file = foveal.load(folder, device="cpu"), foveal.load(folder / name, device="cpu")
    assert file.protocol == whole.protocol
    assert file.tokenizer == whole.tokenizer
    assert file.model.config == whole.model.config
    assert torch.equal(file.encode_texts(TEXTS), whole.encode_texts(TEXTS))
    torch.testing.assert_close(file.encode_images(pictures), whole.encode_images(pictures), rtol=0, atol=1e-6)
    return file


def test_a_file_of_transformers_is_read_with_all_that_lies_beside_it(layouts, tmp_path):
    clip = layouts.their_clip()
    clip.save_pretrained(tmp_path)
    gray = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.6, 0.7], "do_center_crop": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(gray))
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    protocol = beside(tmp_path, "model.safetensors").protocol
    assert (protocol.mean, protocol.resize, protocol.licence) == ((0.5, 0.4, 0.3), "squash", "mit")
    torch.save({"model": {f"_orig_mod.{name}": x for name, x in clip.state_dict().items()}}, tmp_path / "epoch_3.pt")
    beside(tmp_path, "epoch_3.pt")


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "model-00002-of-00004.safetensors"])
def test_one_of_several_shards_stands_for_all(layouts, tmp_path, name):
    layouts.their_clip().save_pretrained(tmp_path, max_shard_size="3MB")
    names = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    beside(tmp_path, names[1] if name not in (*names, "model.safetensors.index.json") else name)


def test_a_file_of_siglip2_and_of_fg_clip2_is_read_with_its_tokenizer(layouts, tmp_path, write_tokenizer):
    siglip = layouts.their_siglip2()
    for name, state in (
        ("siglip2", siglip.state_dict()),
        ("fg", layouts.fg_clip2_state(siglip, siglip.vision_model.head)),
    ):
        write_transformers(tmp_path / name, state, siglip.config, Siglip2ImageProcessorPil(patch_size=4))
        write_tokenizer(tmp_path / name)
        beside(tmp_path / name, "model.safetensors")


def test_a_file_of_fg_clip_is_read_with_its_config(layouts, tmp_path):
    clip = layouts.their_clip()
    write_transformers(tmp_path, layouts.fg_clip_state(clip, layouts.their_clip(248)), clip.config)
    assert beside(tmp_path, "model.safetensors").protocol.family == "fg_clip"


def test_a_file_of_foveal_is_read_with_its_protocol(tmp_path):
    save(DualEncoder(tiny()), tmp_path)
    Protocol(family="clip", mean=(0.1, 0.2, 0.3), cleaning="nfc", source="someone/some-clip").write(tmp_path)
    protocol = beside(tmp_path, "model.safetensors").protocol
    assert (protocol.mean, protocol.cleaning, protocol.source) == ((0.1, 0.2, 0.3), "nfc", "someone/some-clip")


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "epoch_latest.pt"])
def test_a_file_of_open_clip_is_read_with_its_config(layouts, tmp_path, name):
    """Its config says GELU and heads of 32; without it the same tensors would be QuickGELU with heads of 64."""
    state = layouts.openai_state(clip_of_wide_heads(layouts))
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}
    open_clip_folder(tmp_path, state, vision_cfg=vision)
    if not name.endswith(".safetensors"):
        content = {"epoch": 1, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}
        torch.save(content, tmp_path / name)
    model = beside(tmp_path, name).model
    assert (model.config.vision.heads, model.config.vision.activation) == (2, "gelu")


def test_a_folder_of_two_layouts_gives_each_file_its_config(layouts, photos, tmp_path):
    """As the hub has many: weights of `transformers` with theirs, the same model of open_clip with its own."""
    clip = clip_of_wide_heads(layouts, text_heads=2, hidden_act="gelu")
    clip.save_pretrained(tmp_path)
    open_clip_folder(tmp_path, layouts.openai_state(clip))
    first = foveal.load(tmp_path / "model.safetensors", device="cpu")
    second = foveal.load(tmp_path / "open_clip_model.safetensors", device="cpu")
    assert first.protocol.mean != second.protocol.mean
    assert (first.protocol.cleaning, second.protocol.cleaning) == ("nfc", "ftfy")
    torch.testing.assert_close(first.encode_texts(TEXTS), second.encode_texts(TEXTS), rtol=0, atol=1e-5)


def test_a_long_clip_needs_no_config_whatever_lies_beside_it(layouts, tmp_path):
    clip = clip_of_wide_heads(layouts, 248)
    state = layouts.finelip_state(clip, slots=3, hidden=4)
    open_clip_folder(tmp_path, layouts.openai_state(clip_of_wide_heads(layouts)))
    torch.save({name: tensor for name, tensor in state.items() if "cross_net" not in name}, tmp_path / "longclip.pt")
    encoder = foveal.load(tmp_path / "longclip.pt", device="cpu")
    way = Protocol(family="long_clip", resize="crop", crop_rounding="half_even", source="longclip.pt")
    assert encoder.protocol == way
    assert encoder.model.config.vision.activation == "quick_gelu"


def openais(layouts):
    return layouts.openai_state(clip_of_wide_heads(layouts))


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (
            lambda layouts: layouts.openai_state(clip_of_wide_heads(layouts)),
            "model.pt",
            "do not say activation and heads",
        ),
        (
            lambda layouts: layouts.openai_state(clip_of_wide_heads(layouts)),
            "open_clip_model.safetensors",
            r"open_clip's weights need their open_clip_config\.json",
        ),
        (lambda layouts: layouts.their_clip().state_dict(), "model.safetensors", r"need the config\.json"),
        (lambda layouts: layouts.their_siglip2().state_dict(), "pytorch_model.bin", r"need the config\.json"),
        (lambda _: DualEncoder(tiny()).state_dict(), "model.safetensors", r"need the config\.json"),
        (lambda _: {"visual.layer1.0.conv1.weight": torch.zeros(1)}, "RN50.pt", "ResNets are not supported"),
    ],
)
def test_a_file_without_its_config_is_refused_where_it_does_not_say_all(layouts, tmp_path, make, name, said):
    state = {key: tensor.contiguous().clone() for key, tensor in make(layouts).items()}
    if name.endswith(".safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save(state, tmp_path / name)
    with pytest.raises(ValueError, match=said) as caught:
        foveal.load(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_what_is_taken_for_openais_by_its_sizes_alone_is_said(layouts, tmp_path, monkeypatch, caplog):
    clip = clip_of_wide_heads(layouts)
    torch.save(layouts.openai_state(clip), tmp_path / "ViT-B-16.pt")
    config, _ = layouts.from_public(layouts.openai_state(clip) | layouts.ARCHIVE_NUMBERS)
    monkeypatch.setattr("foveal.models.layouts.vit_b_16", lambda: config)  # the published size takes 600 MB
    foveal.load(tmp_path / "ViT-B-16.pt")
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path / 'ViT-B-16.pt'} is read as OpenAI's: its sizes are those of a published model.")
    assert "open_clip_config.json" in said
    caplog.clear()
    torch.save(layouts.openai_state(clip) | layouts.ARCHIVE_NUMBERS, tmp_path / "ViT-B-16.pt")
    foveal.load(tmp_path / "ViT-B-16.pt")
    assert caplog.messages == []


@torch.no_grad()
def test_parity_metaclip2_with_its_own_tokenizer(layouts, tmp_path):
    """Its texts end at id 2, which in configs of CLIP means the highest id."""
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "cat": 4, "dog": 5, "red": 6}
    backend = Backend(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [("<s>", 0), ("</s>", 2)]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    backend.save(str(tmp_path / "tokenizer.json"))
    text = layouts.TOWER | {"vocab_size": 7, "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1}
    vision = layouts.TOWER | {"image_size": 32, "patch_size": 8}
    metaclip = layouts.randomized(MetaClip2Model(MetaClip2Config(text_config=text, vision_config=vision)))
    metaclip.save_pretrained(tmp_path)
    ids = torch.tensor([[0, 6, 4, 2], [0, 5, 2, 1]])
    expected = metaclip.text_projection(metaclip.text_model(ids).pooler_output)
    close(foveal.load(tmp_path).encode_texts(["red cat", "dog"]), expected)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "clip"}))
    with pytest.raises(
        ValueError, match=r"its tokenizer ends texts with id 2, its model reads them at id 6\."
    ) as caught:
        foveal.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_texts_are_cleaned_as_the_layouts_own_tokenizer_does(layouts, tmp_path):
    """`transformers` composes letters; OpenAI's code mends quotes and entities too."""
    text = "it\u2019s &amp; sch\u00c3\u00b6n e\u0301"
    clip = clip_of_wide_heads(layouts)
    clip.save_pretrained(tmp_path / "hf")
    (tmp_path / "oc").mkdir()
    open_clip_folder(tmp_path / "oc", layouts.openai_state(clip))
    torch.save(layouts.openai_state(clip) | layouts.ARCHIVE_NUMBERS, tmp_path / "ViT.pt")
    ids = {}
    for name, cleaning in (("hf", "nfc"), ("oc", "ftfy"), ("ViT.pt", "ftfy")):
        encoder = foveal.load(tmp_path / name, device="cpu")
        assert encoder.protocol.cleaning == encoder.tokenizer.cleaning == cleaning
        ids[name] = encoder.tokenizer.encode([text], 77).tolist()
        encoder.save(tmp_path / f"{name}-again")
        assert foveal.load(tmp_path / f"{name}-again", device="cpu").tokenizer.encode([text], 77).tolist() == ids[name]
    assert ids["oc"] == ids["ViT.pt"] == Tokenizer.clip().encode([text], 77).tolist()
    assert ids["hf"] == Tokenizer.clip("nfc").encode([text], 77).tolist() != ids["oc"]


def test_clips_tokenizer_in_a_folder_is_known_and_another_is_used_as_it_is(layouts, tmp_path):
    clip = layouts.their_clip()
    clip.save_pretrained(tmp_path)
    write(Tokenizer.clip("nfc"), tmp_path, 77)
    assert foveal.load(tmp_path).tokenizer == Tokenizer.clip("nfc")
    written = json.loads((tmp_path / "tokenizer.json").read_text())
    written["normalizer"] = {"type": "NFC"}  # keeps capitals
    (tmp_path / "tokenizer.json").write_text(json.dumps(written))
    again = tmp_path.rename(tmp_path.with_name("again"))  # a tokenizer is read once per process and path
    tokenizer = foveal.load(again).tokenizer
    assert tokenizer.path == again / "tokenizer.json"
    assert tokenizer.encode(["A"], 9).tolist() != tokenizer.encode(["a"], 9).tolist()


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "protocol.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "open_clip_config.json", "model.safetensors.index.json"),
    ],
)
def test_json_of_a_hundred_thousand_levels_is_refused_in_a_line(layouts, tmp_path, write_tokenizer, name):
    if name == "model.safetensors.index.json":
        (tmp_path / "config.json").write_text('{"vision_config": {}}')
    elif name == "open_clip_config.json":
        open_clip_folder(tmp_path, layouts.openai_state(clip_of_wide_heads(layouts)))
    else:
        layouts.their_siglip2().save_pretrained(tmp_path)
        write_tokenizer(tmp_path)
    (tmp_path / name).write_text("[" * 100_000)
    with pytest.raises(ValueError, match=name) as caught:
        foveal.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (
            "protocol.json",
            {"max_patches": 10**9},
            r"max_patches is 1000000000\. It must be a whole number",
        ),
        ("protocol.json", {"buckets": [128, 10**9]}, r"buckets is 1000000000\. It must be a whole number"),
        ("protocol.json", {"std": [0.0, 1.0, 1.0]}, r"std is \(0\.0, 1\.0, 1\.0\)\. It must be three numbers above 0"),
        ("protocol.json", {"mean": [10**400, 1.0, 1.0]}, r"mean\[0\] is 10+\.\.\.0+\. It must be float"),
        ("protocol.json", {"cleaning": "none"}, r"cleaning is 'none'\. It must be one of ftfy, nfc"),
        ("preprocessor_config.json", {"image_std": [0, 1, 1]}, r"std is \(0\.0, 1\.0, 1\.0\)\. It must be"),
        ("preprocessor_config.json", {"image_mean": [1]}, "not enough values"),
        ("preprocessor_config.json", {"image_mean": "abc"}, "could not convert"),
        ("preprocessor_config.json", {"resample": 10**9}, "prepares pictures in a way that is unknown"),
        ("preprocessor_config.json", {"max_num_patches": 10**9}, r"max_patches is 1000000000"),
        ("preprocessor_config.json", {"max_num_patches": True}, r"max_patches is True"),
    ],
)
def test_numbers_of_preparation_are_within_reason(layouts, tmp_path, write_tokenizer, name, values, said):
    layouts.their_siglip2().save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    (tmp_path / name).write_text(json.dumps(values))
    with pytest.raises(ValueError, match=said) as caught:
        foveal.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"logit_scale": torch.zeros(3)}, {"vision_model.head.probe": torch.zeros(2, 2, 2, 2)}]
)
def test_shapes_of_no_layout_are_refused_in_a_line(layouts, tmp_path, write_tokenizer, change):
    siglip = layouts.their_siglip2()
    write_transformers(tmp_path, siglip.state_dict() | change, siglip.config)
    write_tokenizer(tmp_path)
    with pytest.raises(ValueError, match=r"model\.safetensors: |Tensor vision") as caught:
        foveal.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_licence_is_looked_for_at_the_beginning_of_a_card(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n" + "x" * 10**6)
    assert licence_of(tmp_path / "README.md") == "mit"
    (tmp_path / "README.md").write_text("---\n" + "x" * 10**6 + "\nlicense: mit\n---\n")
    assert licence_of(tmp_path / "README.md") == ""


def test_who_names_the_same_encoder_shares_it(monkeypatch, unchecked):
    loaded = []

    def load(name, device=None):
        loaded.append((name, device))
        return object()

    monkeypatch.setattr("foveal.encoder.load.load", load)
    load_once.cache_clear()
    assert load_once("tiny") is load_once("tiny")
    assert load_once("tiny", "cpu") is not load_once("tiny")
    assert loaded == [("tiny", None), ("tiny", "cpu")]
    load_once.cache_clear()
