"""`foveal annotate` asks `transformers serve`: a tiny LLaVA that this test makes and teaches one answer."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from foveal.annotation.assistant.prompt import fill
from foveal.cli.main import main
from foveal.data.formats import Jsonl

COMMAND = Path(sys.executable).with_name("transformers")
SERVING = ("transformers", "accelerate", "fastapi", "uvicorn", "openai", "tokenizers")
ANSWER = {"long_caption": "A red cup on a table .", "short_caption": "A cup ."}
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}<answer>"
)
SIDE, PATCH = 32, 16


def tokenizer():
    """Words and marks; what it does not know is one token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = Regex(r'[{}",:]| [A-Za-z.]+|[A-Za-z_.]+')
    split = pre_tokenizers.Split(marks, behavior="isolated")
    words = dict.fromkeys(piece for piece, _ in split.pre_tokenize_str(json.dumps(ANSWER)))
    special = ["<pad>", "<unk>", "<end>", "<image>", "<answer>"]
    known = {word: number for number, word in enumerate([*special, *words])}
    made = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = split, decoders.Fuse()
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "<end>"}
    extra = ["<image>", "<answer>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=made, **names, additional_special_tokens=extra, clean_up_tokenization_spaces=False
    )


def taught(folder):
    """A LLaVA of two layers with random weights that has seen its one answer often enough to give it."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    torch.manual_seed(0)
    words = tokenizer()
    image = words.convert_tokens_to_ids("<image>")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**sizes, image_size=SIDE, patch_size=PATCH, projection_dim=32),
        text_config=LlamaConfig(**sizes, vocab_size=len(words), max_position_embeddings=1024),
        image_token_index=image,
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    size = {"height": SIDE, "width": SIDE}
    looks = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    processor = LlavaProcessor(
        looks,
        words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    picture, told = Image.new("RGB", (48, 40), (200, 30, 30)), json.dumps(ANSWER)
    text = f"{fill('caption.v1')}<image><answer>{told}<end>"
    asked = processor(text=text, images=picture, return_tensors="pt")
    labels = asked["input_ids"].clone()
    labels[:, : int((labels[0] == words.convert_tokens_to_ids("<answer>")).nonzero()) + 1] = -100
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        loss = model(**asked, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.02:
            break
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return loss.item()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of the server and the model's name."""
    missing = [name for name in SERVING if find_spec(name) is None]
    if missing or not COMMAND.is_file():
        pytest.skip(f"`transformers serve` needs {', '.join(missing) or 'its command'}, which is not installed")
    folder = tmp_path_factory.mktemp("served") / "tiny-llava"
    assert taught(folder) < 0.1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "server.log").open("w+")
    command = [COMMAND, "serve", str(folder), "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 240
        while not is_up(f"http://127.0.0.1:{port}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                pytest.skip(f"`transformers serve` does not run here: {log.read()[-300:]}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def is_up(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.slow
def test_a_real_model_behind_a_real_server_captions_pictures(served, capsys, tmp_path):
    url, model = served
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        data = BytesIO()
        Image.new("RGB", (48, 40), (200, 30 * number, 30)).save(data, "JPEG")
        (folder / f"{number}.jpg").write_bytes(data.getvalue())
    out = tmp_path / "out.jsonl"
    command = ["annotate", str(folder), "--out", str(out), "--stages", "caption,phrases"]
    command += [
        "--endpoint",
        url,
        "--model",
        model,
        "--set",
        "assistant.max_tokens=60",
        "--set",
        "phrases.parser=rules",
    ]
    assert main([*command, "--set", "assistant.concurrency=2"]) == 0
    samples = list(Jsonl(out))
    assert [(one.long_caption, one.captions) for one in samples] == [
        (ANSWER["long_caption"], (ANSWER["short_caption"],))
    ] * 3
    assert [region.phrase for region in samples[0].regions] == ["A red cup on a table", "a table"]
    spend = json.loads((out.with_name("out.jsonl.annotation") / "report.json").read_text())["spend"]
    pieces = len(tokenizer()(json.dumps(ANSWER))["input_ids"])
    assert spend["answers"] == 3
    assert 3 * pieces <= spend["completion_tokens"] <= 3 * (pieces + 1)  # the last is the end
    assert spend["prompt_tokens"] > 3 * (SIDE // PATCH) ** 2  # pictures are read
    assert "3 samples: 3 written" in capsys.readouterr().out
