"""What is written reads texts by itself as ours does."""

import json

import pytest
import tokenizers
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from foveal.data.tokenizer import Tokenizer
from foveal.data.tokenizer_files import whole, write

TEXTS = ["a photo", "Two  DOGS, running; don't stop!\n12 café naïve", "日本 x", "", "<|endoftext|>"]


@pytest.fixture
def own(tmp_path):
    """A small tokenizer of words, whose marks stand in the config beside it alone."""
    words = ["<pad>", "<eos>", "<bos>", "<unk>", *["two", "dogs", "run", "Two"]]
    backend = Backend(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["<pad>", "<eos>", "<bos>"])
    (tmp_path / "own").mkdir()
    backend.save(str(tmp_path / "own/tokenizer.json"))
    marks = {"add_eos_token": True, "add_bos_token": True, "eos_token": "<eos>", "bos_token": "<bos>"}
    (tmp_path / "own/tokenizer_config.json").write_text(json.dumps(marks))
    return tmp_path / "own"


def test_parity_clips_files_give_its_ids_and_read_back_as_a_tokenizer(tmp_path):
    tokenizer = Tokenizer.clip()
    write(tokenizer, tmp_path, 77)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in TEXTS[:-1]:
        expected = tokenizer.encode([text], 77)[0].tolist()
        assert backend.encode(text).ids == expected
        assert Tokenizer.open(tmp_path).encode([text], 77)[0].tolist() == expected
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (config["model_max_length"], config["pad_token"]) == (77, "<|endoftext|>")
    assert {path.name for path in tmp_path.iterdir()} >= {"vocab.json", "merges.txt", "special_tokens_map.json"}


def test_parity_another_tokenizer_brings_its_marks_and_what_is_done_before_it(own, tmp_path):
    tokenizer = Tokenizer.open(own, lower=True, drop_punctuation=True, pad_id=0)
    write(tokenizer, tmp_path / "out", 9)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "out/tokenizer.json"))
    for text in ("Two dogs, run!", "two.dogs", "  cats "):
        assert backend.encode(text).ids == tokenizer.encode([text], 9)[0].tolist()
    assert backend.encode("Two").tokens == ["<bos>", "two", "<eos>"]
    config = json.loads((tmp_path / "out/tokenizer_config.json").read_text())
    assert (config["pad_token"], config["bos_token"], config["tokenizer_class"]) == (
        "<pad>",
        "<bos>",
        "PreTrainedTokenizerFast",
    )


def test_what_is_written_is_a_copy():
    whole(Tokenizer.clip()).add_tokens(["foveal"])
    assert Tokenizer.clip().vocabulary == 49408
