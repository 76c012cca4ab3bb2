"""A LLaVA of our parts: what is trained, where the loss is, what is saved, and what comes out again."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, LlavaForConditionalGeneration

from foveal.cli.main import main
from foveal.data.formats.conversations import Chat, Conversations, Turn
from foveal.distributed import ALONE
from foveal.multimodal.answer import Answerer
from foveal.multimodal.chat import IGNORED, encode_chat
from foveal.multimodal.chats import Preparing
from foveal.multimodal.llava import Llava, assemble, open_folder, save, standardize
from foveal.multimodal.small import SceneChats, small_language, small_tower
from foveal.recipes.llava import Objective, demo, smoke, stage1, stage2, stage2_lora
from foveal.training.logbook import read
from foveal.training.trainer import fit

MODEL = demo().model
PREPARING = Preparing.of(MODEL)


def batch_of(count=4, preparing=PREPARING):
    rng = np.random.default_rng(0)
    return preparing.collate([preparing.prepare(SceneChats().sample(number), rng) for number in range(count)])


def tried(run):
    small = smoke()
    model = replace(small.model, trained=run.model.trained, style=run.model.style, rank=4, alpha=8.0)
    optimizer = replace(small.optimizer, lr_factors=run.optimizer.lr_factors)
    machine = replace(small.machine, checkpoint_every=1)
    return replace(small, name=run.name, model=model, optimizer=optimizer, machine=machine, steps=2, batch_size=2)


def hashes(folder):
    tensors = load_file(folder / "model.safetensors")
    return {name: sha256(tensor.contiguous().numpy().tobytes()).hexdigest() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A first stage's start, and where two steps led."""
    folder = tmp_path_factory.mktemp("llava")
    torch.manual_seed(0)
    parts = MODEL.assembled()
    (folder / "start").mkdir()
    save(parts, folder / "start")
    run = tried(stage1())
    run = replace(run, model=replace(run.model, folder=str(folder / "start")))
    fit(run, folder / "stage1", progress=False)
    return folder


def test_the_first_stage_changes_the_connector_alone(begun):
    before, after = hashes(begun / "start"), hashes(begun / "stage1")
    changed = {name for name in before if before[name] != after[name]}
    assert before.keys() == after.keys()
    assert changed == {name for name in before if "multi_modal_projector" in name} and len(changed) == 4


def test_frozen_parts_are_stored_once_beside_the_checkpoints(begun):
    checkpoint = next((begun / "stage1" / "checkpoints").iterdir())
    stored = load_file(checkpoint / "model.safetensors")
    small = sum(value.numel() for value in MODEL.assembled().model.parameters()) * 4 < 1 << 20
    assert small or {name for name in stored if "multi_modal_projector" not in name} == set()


def test_a_second_stage_goes_on_from_the_first_and_leaves_the_tower(begun, tmp_path):
    run = tried(stage2())
    run = replace(run, model=replace(run.model, folder=str(begun / "stage1")))
    fit(run, tmp_path / "stage2", progress=False)
    before, after = hashes(begun / "stage1"), hashes(tmp_path / "stage2")
    same = {name for name in before if before[name] == after[name]}
    assert {name for name in before if "vision_tower" in name} <= same
    assert not any("language_model.layers" in name for name in same)


def test_adapters_are_merged_to_the_same_logits(begun, tmp_path):
    run = tried(stage2_lora())
    run = replace(run, model=replace(run.model, folder=str(begun / "stage1")))
    torch.manual_seed(0)
    module = run.model.build().eval()
    trainable = {name for name, value in module.named_parameters() if value.requires_grad}
    assert trainable and all("lora_" in name or "multi_modal_projector" in name for name in trainable)
    for name, value in module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    batch = batch_of()
    with torch.no_grad():
        adapted = module(batch).logits
        (tmp_path / "out").mkdir()
        run.model.save(module, tmp_path / "out")
        merged = replace(run.model, trained="all").open(tmp_path / "out").eval()(batch).logits
    torch.testing.assert_close(merged, adapted, rtol=0, atol=1e-5)
    assert (adapted - MODEL.open(begun / "stage1").eval()(batch).logits).abs().max() > 1e-3
    assert not any("lora" in name for name in load_file(tmp_path / "out" / "model.safetensors"))


def test_the_loss_is_on_answer_tokens_alone():
    module = MODEL.build()
    batch = batch_of(2)
    expected = [[*chat.turns[1].text.split(), "</s>"] for chat in map(SceneChats().sample, range(2))]
    output = module(batch)
    words = PREPARING.tokenizer.convert_ids_to_tokens(output.targets.tolist())
    assert words == [word for row in expected for word in row]
    logits = module.llava(input_ids=batch.token_ids, attention_mask=batch.mask, pixel_values=batch.pixels).logits
    logits.retain_grad()
    answers = batch.targets[:, 1:] >= 0
    torch.testing.assert_close(logits[:, :-1][answers], output.logits)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch.targets[:, 1:].flatten())
    loss.backward()
    torch.testing.assert_close(loss, Objective()(output)["answer"])
    assert logits.grad[:, :-1][~answers].abs().sum() == 0 and logits.grad[:, :-1][answers].abs().sum() > 0


@torch.no_grad()
def test_a_standardized_connector_sees_channels_of_one_size():
    parts = replace(MODEL, standardized=False).assembled()
    plain = parts.model.model.multi_modal_projector.linear_1.weight.clone()
    standardize(parts.model, batch_of(8).pixels)
    seen = parts.model.model.vision_tower(batch_of(8).pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    linear = parts.model.model.multi_modal_projector.linear_1
    flat = seen.flatten(0, 1)
    expected = (flat - flat.mean(0)) / flat.std(0) @ plain.T
    bias = linear(flat) - expected
    torch.testing.assert_close(bias, bias[:1].expand_as(bias), rtol=0, atol=1e-3)


def test_another_picture_gives_other_logits():
    module = MODEL.build().eval()
    batch = batch_of(2)
    swapped = replace(batch, pixels=batch.pixels.flip(0))
    with torch.no_grad():
        assert (module(batch).logits - module(swapped).logits).abs().max() > 1e-4


def test_a_batch_in_parts_is_the_same_batch():
    module, batch = MODEL.build().eval(), batch_of(4)
    with torch.no_grad():
        whole, parts = module(batch), [module(part) for part in batch.split(2)]
    torch.testing.assert_close(torch.cat([part.logits for part in parts]), whole.logits, rtol=0, atol=1e-5)


def test_a_chat_is_written_as_llava_writes_it():
    _, tokenizer = small_language()
    image = tokenizer.convert_tokens_to_ids("<image>")
    turns = (Turn("human", "<image>\nis there a red tile ?"), Turn("gpt", "yes"), Turn("human", "a blue ?"))
    tokens = encode_chat(tokenizer, (*turns, Turn("gpt", "no")), "vicuna", image, 3, 99)
    words = tokenizer.convert_ids_to_tokens(tokens.ids)
    said = "USER : <image> <image> <image> is there a red tile ? ASSISTANT : yes </s>"
    assert words[0] == "<s>"
    assert " ".join(words[words.index("USER") :]) == f"{said} USER : a blue ? ASSISTANT : no </s>"
    targets = [token for token in tokens.targets if token != IGNORED]
    assert tokenizer.convert_ids_to_tokens(targets) == ["yes", "</s>", "no", "</s>"]
    plain = encode_chat(tokenizer, turns[:2], "plain", image, 2, 99)
    assert tokenizer.convert_ids_to_tokens(plain.ids) == ["<s>", "<image>", "<image>", "yes", "</s>"]
    with pytest.raises(ValueError, match="picture has 99 tokens, and a conversation at most 99"):
        encode_chat(tokenizer, turns, "plain", 4, 99, 99)


def test_transformers_own_processor_counts_the_same_tokens(begun):
    processor = AutoProcessor.from_pretrained(begun / "start")
    model = LlavaForConditionalGeneration.from_pretrained(begun / "start").eval()
    from foveal.multimodal.chats import open_picture

    chat = SceneChats().sample(0)
    inputs = processor(images=open_picture(chat.image), text="<image> is there a red tile ?", return_tensors="pt")
    assert int((inputs["input_ids"] == model.config.image_token_index).sum()) == 64
    with torch.no_grad():
        assert model(**inputs).logits.isfinite().all()
    torch.testing.assert_close(inputs["pixel_values"], batch_of(1).pixels)


def test_answers_do_not_depend_on_their_neighbors(begun):
    one, many = (Answerer(open_folder(begun / "stage1"), style="plain", batch_size=size, most_new=5) for size in (1, 3))
    chats = [SceneChats().sample(number) for number in range(3)]
    pictures, questions = [chat.image for chat in chats], ["is there a red tile ?", "a blue ?", "which colors ?"]
    assert one.answer(pictures, questions) == many.answer(pictures, questions)
    with pytest.raises(ValueError, match="3 pictures and 2 questions"):
        one.answer(pictures, questions[:2])
    with pytest.raises(ValueError, match="A question is empty"):
        one.answer(pictures[:1], [" "])


def test_the_commands_answer_and_measure(begun, tmp_path, capsys):
    row = {"question_id": 1, "image": "COCO_val2014_000000000001.jpg", "text": "Is there a cat in the image?"}
    (tmp_path / "pope").mkdir()
    (tmp_path / "pope" / "coco_pope_random.json").write_text(json.dumps(row | {"label": "no"}))
    (tmp_path / "coco" / "val2014").mkdir(parents=True)
    photo = tmp_path / "coco" / "val2014" / row["image"]
    photo.write_bytes(SceneChats().sample(0).image)
    assert main(["answer", str(begun / "stage1"), str(photo), "is there a red tile ?", "--device", "cpu"]) == 0
    assert main(["eval", str(begun / "stage1"), "pope@random", "--root", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "yes_no_llava" in shown and "yes_no_lmms" in shown and "yes_share" in shown


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no LLaVA of foveal.*foveal train llava:stage1"):
        open_folder(tmp_path)


@pytest.mark.parametrize("architecture", ["gpt2", "qwen2"])
def test_any_causal_language_model_is_taken(architecture):
    transformers = pytest.importorskip("transformers")
    _, tokenizer = small_language()
    sizes = {"vocab_size": len(tokenizer), "eos_token_id": 2, "bos_token_id": 1}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    if architecture == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=256, **sizes)
    else:
        config = transformers.Qwen2Config(hidden_size=32, intermediate_size=48, **heads, **sizes)
    language = transformers.AutoModelForCausalLM.from_config(config)
    parts = assemble(small_tower(), language, tokenizer)
    batch = batch_of(2)
    logits = parts.model.eval()(input_ids=batch.token_ids, attention_mask=batch.mask, pixel_values=batch.pixels).logits
    assert logits.shape[-1] == len(tokenizer) and logits.isfinite().all()


def test_a_training_is_resumed_bit_for_bit(begun, tmp_path):
    run = tried(stage1())
    run = replace(run, model=replace(run.model, folder=str(begun / "start")))
    cut = shutil.copytree(begun / "stage1", tmp_path / "cut")
    (cut / "model.safetensors").unlink()
    shutil.rmtree(cut / "checkpoints/step-000002")
    fit(run, cut, resume=True, progress=False)
    assert hashes(cut) == hashes(begun / "stage1")


def test_conversations_without_a_source_are_asked_for():
    with pytest.raises(ValueError, match="no conversations to train on"):
        stage1().data.open(Llava(), batch_size=1, seed=0, world=ALONE, workers=0)


def mean_loss(folder, count=20):
    return sum(line["loss"] for line in read(folder / "log.jsonl")[-count:]) / count


@pytest.mark.slow
def test_a_tiny_llama_learns_32_captions_by_heart(tmp_path):
    chats = []
    for chat in map(SceneChats().sample, range(32)):
        (tmp_path / f"{chat.id}.png").write_bytes(chat.image)
        chats.append(Chat.of(chat.id, tmp_path / f"{chat.id}.png", chat.turns))
    Conversations(tmp_path / "chats.json").write(chats)
    data = replace(demo().data, sources=(str(tmp_path / "chats.json"),))
    fit(replace(demo(), data=data, steps=200), tmp_path / "out", progress=False)
    assert mean_loss(tmp_path / "out") < 0.1


@pytest.mark.slow
def test_a_tiny_llama_learns_to_name_the_colors_of_tiles_never_seen_twice(tmp_path):
    fit(demo(), tmp_path / "demo", progress=False)
    assert mean_loss(tmp_path / "demo") < 0.4  # 0.26 was measured; it begins at 3.3
