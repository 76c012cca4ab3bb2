"""Real pipelines of diffusers, from random tiny configs, read on where CLIP stops."""

import pytest
import torch

pytest.importorskip("diffusers")
from diffusers import StableDiffusionPipeline

import tiny_pipelines as pipelines
from foveal.diffusion.pipeline import lengthen, prompt_embeddings
from foveal.diffusion.text_encoder import stretched

LONG = " ".join(["a red cat beside a blue dog under a green tree"] * 12)
LATE = LONG + " and a purple lamp"
MAKERS = {
    "SD": pipelines.stable_diffusion,
    "SDXL": pipelines.stable_diffusion_xl,
    "SD3": pipelines.stable_diffusion_3,
}


def drawn(pipeline, **call):
    pictures = pipeline(generator=torch.Generator().manual_seed(0), **pipelines.CALL, **call).images
    return torch.tensor(pictures)


def difference(pipeline):
    pipeline_class = type(pipeline).__name__
    with_t5 = {"max_sequence_length": 8} if pipeline_class == "StableDiffusion3Pipeline" else {}
    return (drawn(pipeline, prompt=LONG, **with_t5) - drawn(pipeline, prompt=LATE, **with_t5)).abs().max()


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_said_after_token_77_changes_the_picture_of_a_lengthened_pipeline_alone(name):
    pipeline = MAKERS[name]()
    assert len(pipeline.tokenizer(LONG).input_ids) > 77
    assert difference(pipeline) == 0
    changes = lengthen(pipeline, pipelines.long_encoder())
    second = () if name == "SD" else ("text_encoder_2", "tokenizer_2")
    assert changes == ("text_encoder", "tokenizer", *second)
    assert difference(pipeline) > 0


def test_flux_takes_the_pooled_vector_and_says_so(caplog):
    pipeline = pipelines.flux()
    before = pipeline._get_clip_prompt_embeds([LONG, LATE])
    assert torch.equal(*before)
    lengthen(pipeline, pipelines.long_encoder())
    after = pipeline._get_clip_prompt_embeds([LONG, LATE])
    assert not torch.equal(*after)
    assert "T5" in caplog.text


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("negative", [None, "a blurred photo"])
def test_penultimate_embeddings_are_those_of_sdxl_itself(zeros, negative):
    pipeline = pipelines.stable_diffusion_xl(zeros=zeros)
    lengthen(pipeline, pipelines.long_encoder())
    negatives = {} if negative is None else {"negative_prompt": [negative] * 2}
    words, none, pooled, none_pooled = pipeline.encode_prompt([LATE, "a cat"], **negatives)
    ours = prompt_embeddings(pipeline, [LATE, "a cat"], layer="penultimate", negative=negative)
    expected = {
        "prompt_embeds": words,
        "negative_prompt_embeds": none,
        "pooled_prompt_embeds": pooled,
        "negative_pooled_prompt_embeds": none_pooled,
    }
    assert {name for name in expected if not torch.equal(ours[name], expected[name])} == set()
    assert words.shape == (2, 248, 32 + 24)


def test_final_normed_embeddings_are_those_of_sd_itself_and_draw_the_same_picture():
    pipeline = pipelines.stable_diffusion()
    lengthen(pipeline, pipelines.long_encoder())
    words, none = pipeline.encode_prompt([LATE], "cpu", 1, do_classifier_free_guidance=True)
    ours = prompt_embeddings(pipeline, [LATE])
    assert torch.equal(ours["prompt_embeds"], words) and torch.equal(ours["negative_prompt_embeds"], none)
    assert torch.equal(drawn(pipeline, **ours), drawn(pipeline, prompt=LATE))


def test_the_layers_differ_and_the_last_one_is_normed():
    pipeline = pipelines.stable_diffusion_xl()
    inner, last = (prompt_embeddings(pipeline, ["a cat"], layer=layer) for layer in ("penultimate", "final-normed"))
    assert not torch.equal(inner["prompt_embeds"], last["prompt_embeds"])
    assert torch.equal(inner["pooled_prompt_embeds"], last["pooled_prompt_embeds"])
    ids = pipeline.tokenizer("a cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert torch.equal(last["prompt_embeds"][..., :32], pipeline.text_encoder(ids).last_hidden_state)


def test_a_refiner_without_first_encoder_is_stretched(tmp_path):
    pipeline = pipelines.stable_diffusion_xl()
    pipeline.register_modules(text_encoder=None, tokenizer=None)
    assert lengthen(pipeline, pipelines.long_encoder()) == ("text_encoder_2", "tokenizer_2")
    assert prompt_embeddings(pipeline, [LATE])["prompt_embeds"].shape == (1, 248, 24)


def test_other_widths_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"text encoder is 32 wide, this model's is 24.*width 32"):
        lengthen(pipelines.stable_diffusion(), pipelines.long_encoder(24))


def test_lengths_that_cannot_be_made_equal_are_refused_with_the_numbers():
    pipeline = pipelines.stable_diffusion_xl(second_length=60)
    with pytest.raises(ValueError, match=r"reads 60 tokens, stretched 180, and this model reads 248"):
        lengthen(pipeline, pipelines.long_encoder())
    assert pipeline.tokenizer.model_max_length == 77


def test_a_pipeline_without_clip_is_refused():
    pipeline = pipelines.stable_diffusion()
    pipeline.register_modules(text_encoder=None, tokenizer=None)
    with pytest.raises(ValueError, match="no text encoder of CLIP"):
        lengthen(pipeline, pipelines.long_encoder())


def test_embeddings_of_other_pipelines_are_left_to_them():
    with pytest.raises(ValueError, match="StableDiffusion3Pipeline makes its embeddings in other ways"):
        prompt_embeddings(pipelines.stable_diffusion_3(), ["a cat"])


def test_padding_is_that_of_the_replaced_tokenizers_or_the_papers():
    pipeline = pipelines.stable_diffusion_xl()
    lengthen(pipeline, pipelines.long_encoder())
    assert [pipeline.tokenizer.pad_token_id, pipeline.tokenizer_2.pad_token_id] == [49407, 0]
    lengthen(pipeline, pipelines.long_encoder(), pad="zero")
    assert [pipeline.tokenizer.pad_token_id, pipeline.tokenizer_2.pad_token_id] == [0, 0]


def test_a_lengthened_pipeline_is_saved_and_opened(tmp_path):
    pipeline = pipelines.stable_diffusion()
    lengthen(pipeline, pipelines.long_encoder(), pad="zero")
    pipeline.save_pretrained(tmp_path / "pipeline")
    again = pipelines.quiet(StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline"))
    assert again.tokenizer.model_max_length == 248 and again.tokenizer.pad_token_id == 0
    assert torch.equal(drawn(again, prompt=LATE), drawn(pipeline, prompt=LATE))


def test_a_second_encoder_of_our_length_stays_as_it_is():
    pipeline = pipelines.stable_diffusion_xl()
    second = stretched(pipeline.text_encoder_2)
    pipeline.register_modules(text_encoder_2=second)
    lengthen(pipeline, pipelines.long_encoder())
    assert pipeline.text_encoder_2 is second
