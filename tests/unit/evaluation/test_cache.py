"""Encodings on disk: found again by content and model, whole after a kill, and never too many."""

import os
from dataclasses import replace

import pytest
import torch

import foveal
from foveal.cli.main import main
from foveal.evaluation import cache as module
from foveal.evaluation import evaluate
from foveal.evaluation.cache import Cache, identity, picture_keys, text_key
from oracle.agreement import opened

EIGHT = ["@fine", "sugarcrepe@7", "sugarcrepe++@itt", "coco@val2017-x5", "coco-boxes@val2017-80"]
THREE = ["fg-ovd@easy", "fg-ovd@medium", "sugarcrepe@7"]


def rows(*names):
    return {text_key(name, "caption"): torch.full((3,), float(len(name))) for name in names}


def whole_pictures(encoder):
    return [place for place in encoder.pictures if not isinstance(place, bytes)]


def test_what_was_kept_is_there_for_the_next_call(tmp_path):
    Cache(tmp_path, "model").put(rows("one", "three"))
    again = Cache(tmp_path, "model")
    assert again.get(rows("three", "seven"))[text_key("three", "caption")].tolist() == [5, 5, 5]
    assert again.get(rows("seven")) == {}
    assert Cache(tmp_path, "other").get(rows("one")) == {}


def test_a_file_is_no_place_for_encodings(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file, which is a file\. Name a folder\.$"):
        Cache(tmp_path / "file", "model")


def test_keys_tell_contents_kinds_ways_and_boxes_apart_and_no_names(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    assert picture_keys(tmp_path / "a.png", "whole") == picture_keys(b"x", "whole")
    box = (0.0, 0.0, 0.5, 1.0)
    keys = [
        *picture_keys(b"x", "whole", [box, (0.0, 0.0, 0.25, 1.0)]),
        *picture_keys(b"x", "squashed", [box]),
        *picture_keys(b"y", "whole"),
        text_key("x", "caption"),
        text_key("x", "phrase"),
    ]
    assert len(set(keys)) == len(keys)


def test_the_files_used_longest_ago_go_first(tmp_path):
    cache = Cache(tmp_path, "model")
    for age, name in enumerate(("used", "old", "new")):
        cache.put(rows(name))
        os.utime(cache._place[text_key(name, "caption")][0], ns=(age, age))
    cache.get(rows("used"))
    size = max(path.stat().st_size for path in tmp_path.glob("*/*"))
    small = Cache(tmp_path, "model", most=3 * size)
    small.put(rows("newest"))
    assert set(small.get(rows("used", "old", "new", "newest"))) == set(rows("used", "new", "newest"))


def test_another_call_may_make_room_while_this_one_reads_and_counts(tmp_path, monkeypatch):
    cache = Cache(tmp_path, "model")
    cache.put(rows("one"))
    read = module._read

    def read_and_lose(path, name):
        stored = read(path, name)
        path.unlink()
        return stored

    monkeypatch.setattr(module, "_read", read_and_lose)
    assert cache.get(rows("one"))[text_key("one", "caption")].tolist() == [3, 3, 3]
    (tmp_path / "model" / "gone.safetensors").symlink_to(tmp_path / "nowhere")  # in the listing, and no longer there
    cache.put(rows("seven"))
    assert set(cache.get(rows("seven"))) == set(rows("seven"))


def test_a_damaged_file_is_removed_and_said(tmp_path, caplog):
    Cache(tmp_path, "model").put(rows("one"))
    (path,) = tmp_path.glob("*/*.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    assert Cache(tmp_path, "model").get(rows("one")) == {}
    assert "is damaged" in caplog.text
    assert not path.exists()


def test_a_killed_call_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART", 2)
    encoded = []

    def encode(names):
        encoded.extend(names)
        if "d" in names and len(encoded) == 4:
            raise KeyboardInterrupt
        return [torch.ones(1, 3) for _ in names]

    def names_of(cache):
        return [name for name, _ in cache.filled("abcde", lambda name: [text_key(name, "caption")], encode)]

    with pytest.raises(KeyboardInterrupt):
        names_of(Cache(tmp_path, "model"))
    assert names_of(Cache(tmp_path, "model")) == list("abcde")
    assert encoded == [*"abcd", *"cde"]
    assert not list(tmp_path.glob("*/.*"))


@pytest.mark.parametrize(
    ("names", "count", "least"), [(THREE, 3, 30), pytest.param(EIGHT, 8, 126, marks=pytest.mark.slow)]
)
def test_protocols_encode_each_picture_once_in_two_calls(encoder, shared_data, tmp_path, names, count, least):
    roots = [shared_data, shared_data / "protocols"]
    first, second = encoder(), encoder()
    report = evaluate(first, names, roots, cache=Cache(tmp_path, "known"))
    assert len(report.results) == count
    assert len(whole_pictures(first)) == len(set(whole_pictures(first))) > least
    assert len(first.texts) == len(set(first.texts))
    again = evaluate(second, names, roots, cache=Cache(tmp_path, "known"))
    assert not second.pictures
    assert not second.texts
    for name, tasks in report.results.items():
        for task, result in tasks.items():
            assert again.results[name][task].metrics == result.metrics


def test_the_identity_of_a_model_is_its_weights_precision_and_preparation(tmp_path):
    encoder = opened("fg_clip", tmp_path)
    name = identity(encoder)
    assert name == identity(foveal.load(tmp_path))
    assert name != identity(encoder.decoding(scaled=not encoder.transform.scaled_decoding))
    other = encoder.decoding(scaled=encoder.transform.scaled_decoding)
    other.dtype = torch.bfloat16
    assert name != identity(other)
    other.dtype, other.tokenizer = encoder.dtype, replace(encoder.tokenizer, lower=not encoder.tokenizer.lower)
    assert name != identity(other)
    parameter = next(encoder.model.parameters())
    with torch.no_grad():
        parameter.view(-1)[0] += 1
    assert name != identity(encoder)


def test_the_command_keeps_encodings(shared_data, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    opened("fg_clip", tmp_path / "model")
    kept_in, root = tmp_path / "encodings", str(shared_data)
    command = ["eval", str(tmp_path / "model"), "fg-ovd@easy", "--root", root, "--limit", "5", "--cache", str(kept_in)]
    assert main(command) == 0
    said = capsys.readouterr().out
    kept = {path: path.stat().st_size for path in kept_in.glob("*/*")}
    assert main(command) == 0
    assert capsys.readouterr().out == said
    assert {path: path.stat().st_size for path in kept_in.glob("*/*")} == kept != {}
