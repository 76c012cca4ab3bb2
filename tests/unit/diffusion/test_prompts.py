"""Lengths and cuts of prompts, and files of them."""

import json

import pytest

pytest.importorskip("diffusers")
import tiny_pipelines as pipelines
from foveal.diffusion.prompts import Prompt, cut_to, length_of, read_prompts, summary

TOKENIZER = pipelines.short_tokenizer()
LONG = "A Photo, of " + "cats " * 80 + "and dogs"


def test_a_length_counts_both_marks_and_names_the_words_behind_the_limit():
    assert str(length_of(TOKENIZER, "a red cat")) == "5 tokens of at most 77"
    length = length_of(TOKENIZER, LONG)
    assert (length.tokens, length.limit) == (4 + 80 + 2 + 2, 77)
    assert length.cut == "cats " * 9 + "and dogs"
    assert "11 words cut off: 'cats cats" in str(length)


@pytest.mark.parametrize("words", [74, 75, 76])
def test_what_is_cut_is_what_the_tokenizer_drops(words):
    text = " ".join(["cat"] * words)
    kept = TOKENIZER(text, truncation=True).input_ids
    assert TOKENIZER(cut_to(TOKENIZER, text, 77)).input_ids == kept
    assert bool(length_of(TOKENIZER, text).cut) == (words > 75)


def test_a_summary_says_how_many_are_cut():
    lengths = [length_of(TOKENIZER, text) for text in ("a", "a red cat", LONG)]
    assert summary(lengths) == "3 prompts of 3 to 88 tokens, 5 in the middle; 1 are longer than 77 and cut."


def test_prompts_of_a_text_file_are_named_by_line(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("a red cat\n\na blue dog\n")
    assert read_prompts(file) == [Prompt("00000", "a red cat"), Prompt("00002", "a blue dog")]


def test_captions_are_named_as_their_pictures_and_long_ones_come_first(tmp_path):
    rows = [
        {"image": "photos/b.jpg", "captions": ["a cat"], "long_caption": "a long text on a cat"},
        {"image": "photos/c.jpg", "captions": ["a dog", "another"]},
    ]
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    assert read_prompts(file) == [Prompt("b", "a long text on a cat"), Prompt("c", "a dog")]
    file.write_text("\n".join(map(json.dumps, [*rows, {"image": "other/c.png", "captions": ["a bird"]}])))
    with pytest.raises(ValueError, match="two prompts are named 'c'"):
        read_prompts(file)


def test_a_file_without_prompts_and_a_sample_without_caption_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(ValueError, match="holds no prompts"):
        read_prompts(tmp_path / "a.txt")
    (tmp_path / "a.jsonl").write_text('{"image": "b.jpg"}\n')
    with pytest.raises(ValueError, match="no caption to draw"):
        read_prompts(tmp_path / "a.jsonl")
