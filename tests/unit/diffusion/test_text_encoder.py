"""Text towers as `transformers` has them: the numbers are ours, and stretching changes no short text."""

import json

import pytest
import torch

pytest.importorskip("diffusers")
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import tiny_pipelines as pipelines
from foveal.cli.main import main
from foveal.diffusion.text_encoder import save_text_encoder, stretched, text_encoder, text_tokenizer
from foveal.models.sizes import fg_clip, tiny

TEXT = "a small red cat on a mat"


def test_the_tower_and_its_tokenizer_give_our_embedding():
    encoder = pipelines.long_encoder()
    ids = text_tokenizer(encoder)([TEXT + " and so on" * 40], return_tensors="pt").input_ids
    theirs = text_encoder(encoder, projection=True)(ids).text_embeds
    ours = encoder.encode_texts([TEXT + " and so on" * 40], "long_caption")
    torch.testing.assert_close(torch.nn.functional.normalize(theirs.detach(), dim=-1), ours, rtol=0, atol=2e-6)


def test_fg_clips_long_captions_have_their_own_positions():
    encoder = pipelines.encoder_of(fg_clip(tiny()))
    lengths = [text_encoder(encoder, kind).config.max_position_embeddings for kind in ("caption", "long_caption")]
    assert lengths == [77, 248]


@torch.no_grad()
@pytest.mark.parametrize("projection", [False, True])
def test_a_stretched_encoder_reads_short_texts_bit_for_bit_as_before(projection):
    model = pipelines.clip_text(projection=projection)
    longer = stretched(model)
    ids = pipelines.short_tokenizer()([TEXT], return_tensors="pt").input_ids
    assert ids.shape[1] <= 20
    before, after = (each(ids, output_hidden_states=True) for each in (model, longer))
    for old, new in zip(before.hidden_states, after.hidden_states, strict=True):
        assert torch.equal(old, new)
    assert torch.equal(before[0], after[0])
    assert longer.config.max_position_embeddings == 248 and model.config.max_position_embeddings == 77


@torch.no_grad()
def test_padding_up_to_248_changes_no_row_of_a_short_text():
    model = pipelines.clip_text()
    longer = stretched(model)
    tokenizer = pipelines.short_tokenizer()
    before, after = (
        each(tokenizer([TEXT], padding="max_length", max_length=length, return_tensors="pt").input_ids)
        for each, length in ((model, 77), (longer, 248))
    )
    torch.testing.assert_close(after.last_hidden_state[:, :20], before.last_hidden_state[:, :20], rtol=0, atol=1e-5)


def test_stretching_shares_all_weights_but_the_table():
    model = pipelines.clip_text()
    old, new = dict(model.named_parameters()), dict(stretched(model).named_parameters())
    assert [name for name in old if new[name] is not old[name]] == ["embeddings.position_embedding.weight"]


def test_a_tower_of_few_places_cannot_be_stretched():
    with pytest.raises(ValueError, match="Cannot keep 20 of 21 positions"):
        stretched(pipelines.clip_text(length=21))


def test_the_end_mark_stays_where_a_text_is_cut():
    tokenizer = text_tokenizer(pipelines.long_encoder())
    ids = tokenizer(["word " * 400], padding="max_length", truncation=True).input_ids[0]
    assert len(ids) == 248 and ids[-1] == tokenizer.eos_token_id and ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize(("pad", "filler"), [("end", 49407), ("zero", 0)])
def test_saved_folders_open_as_a_pipelines_own(tmp_path, pad, filler):
    encoder = pipelines.long_encoder()
    save_text_encoder(encoder, tmp_path / "out", pad=pad)
    model, report = CLIPTextModel.from_pretrained(tmp_path / "out" / "text_encoder", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "out" / "tokenizer")
    assert tokenizer.model_max_length == 248
    assert tokenizer(["a"], padding="max_length").input_ids[0][-1] == filler
    for name, value in text_encoder(encoder).state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    pipelines.stable_diffusion().save_pretrained(tmp_path / "pipeline")
    opened = StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline", text_encoder=model, tokenizer=tokenizer)
    assert opened.encode_prompt("a cat", "cpu", 1, False)[0].shape == (1, 248, 32)


def test_the_projection_is_kept_where_it_is_asked_for(tmp_path):
    save_text_encoder(pipelines.long_encoder(), tmp_path / "out", projection=True)
    folder = tmp_path / "out" / "text_encoder"
    _, report = CLIPTextModelWithProjection.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


def test_convert_writes_the_text_encoder_of_long_captions(tmp_path, capsys):
    pipelines.encoder_of(fg_clip(tiny())).save(tmp_path / "model")
    assert main(["convert", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--to", "text-encoder"]) == 0
    config = json.loads((tmp_path / "out" / "text_encoder" / "config.json").read_text())
    assert config["max_position_embeddings"] == 248
    assert "text encoder" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--to", "text-encoder"]) == 2
    assert "in use" in capsys.readouterr().err
