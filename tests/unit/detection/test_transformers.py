"""Detectors of `transformers` with random weights: their scores and boxes against what the models' outputs say."""

import pytest
import torch
from PIL import Image

from foveal.detection.grounding_dino import Grounding, class_scores, readable
from foveal.detection.hub import open_detector
from foveal.detection.lookup import DETECTORS, OpenVocabulary, proposer
from foveal.detection.owl import Owl, corners

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library's own
WIDE, HIGH = Image.new("RGB", (60, 20), "red"), Image.new("RGB", (20, 60), "blue")


def test_objectness_needs_no_words_and_is_that_of_the_whole_model(owl):
    plain, worded = Owl(str(owl), device="cpu"), Owl(str(owl), device="cpu", words=True)
    nameless, named = plain.propose([WIDE], [["a"]])[0], worded.propose([WIDE], [["a", "b", "c"]])[0]
    assert nameless.class_score is None
    assert named.class_score.shape == (len(named), 3)
    torch.testing.assert_close(nameless.boxes, named.boxes)
    torch.testing.assert_close(nameless.score, named.score)
    assert len(plain.propose([WIDE], [[]])[0]) == len(nameless)


def test_boxes_are_told_without_the_padding(owl, monkeypatch):
    """A box around all of the square is a box around all of the picture; one in the padding is none."""
    model = open_detector(str(owl), "cpu")[0]
    squares = torch.tensor([[[0.5, 0.5, 1.0, 1.0], [0.5, 0.9, 1.0, 0.1], [0.25, 1 / 6, 0.5, 1 / 6], [0.5, 0.5, 0, 1]]])
    monkeypatch.setattr(model, "box_predictor", lambda *_: squares.clone())
    boxes = Owl(str(owl), device="cpu").propose([WIDE], [[]])[0].boxes
    expected = {(0.0, 0.0, 1.0, 1.0), (0.0, 0.25, 0.5, 0.75)}
    assert {tuple(round(end, 4) for end in box) for box in boxes.tolist()} == expected


def test_the_most_likely_boxes_stay(owl):
    whole, few = (Owl(str(owl), device="cpu", top=top).propose([HIGH], [[]])[0] for top in (300, 2))
    assert torch.equal(few.score, whole.score[:2])
    assert torch.equal(whole.score, whole.score.sort(descending=True).values)


def test_corners_of_middle_and_sides():
    assert corners(torch.tensor([[0.5, 0.5, 0.5, 1.0]])).tolist() == [[0.25, 0.0, 0.75, 1.0]]


def test_a_name_is_read_as_words():
    assert [readable(name) for name in ("cat_(animal)", "fire  hydrant", "a_b")] == ["cat", "fire hydrant", "a b"]


def test_a_score_is_the_mean_over_the_tokens_of_a_name():
    logits = torch.tensor([[0.0, torch.inf, -torch.inf, 0.0]])
    assert class_scores(logits, [(0,), (1, 2), (1, 3)]).tolist() == [[0.5, 0.5, 0.75]]


def test_names_find_their_tokens(grounding_dino):
    """What is asked is "a red cat. dog. ", and scores are means over the sigmoids of each name's tokens."""
    model, tokenizer, _ = open_detector(str(grounding_dino), "cpu")
    logits = []
    hook = model.register_forward_hook(lambda *call: logits.append(call[2].logits[0]))
    proposals = Grounding(str(grounding_dino), device="cpu").propose([WIDE], [["a_red_cat", "dog"]])[0]
    hook.remove()
    likely = logits[0].sigmoid()
    expected = torch.stack([likely[:, 1:4].mean(dim=1), likely[:, 5]], dim=1)  # [CLS] a red cat . dog . [SEP]
    assert tokenizer("a red cat. dog. ").input_ids[5] == tokenizer("dog").input_ids[1]
    rows = (proposals.class_score[:, None] - expected).abs().sum(dim=2).min(dim=1)
    assert rows.values.max() < 1e-6
    torch.testing.assert_close(proposals.score.max(), expected.max())


def test_chunks_are_asked_one_by_one_and_the_picture_is_read_once(grounding_dino):
    model = open_detector(str(grounding_dino), "cpu")[0]
    calls = []
    detector = Grounding(str(grounding_dino), chunk=2, top=3, device="cpu")
    names = ["a", "dog", "cat", "red", "a dog"]
    proposals = detector.propose([WIDE], [names])[0]
    hook = model.model.backbone.conv_encoder.network.register_forward_hook(lambda *_: calls.append(1))
    again = detector.propose([HIGH], [names])[0]
    hook.remove()
    assert len(calls) == 1
    assert 0 < len(proposals) <= 9
    assert again.class_score.shape[1] == 5
    blocks = [(0, 1), (2, 3), (4,)]
    for row in proposals.class_score:
        assert sum(bool(row[list(block)].any()) for block in blocks) == 1


def test_a_chunk_of_too_many_tokens_is_cut(grounding_dino):
    names = ["a red dog"] * 4  # 4 * 4 + 2 tokens, of which the model reads 16
    sure = Grounding(str(grounding_dino), device="cpu").propose([WIDE], [names])[0]
    assert sure.class_score[:, :2].any()
    assert sure.class_score[:, 2:].any()
    with pytest.raises(ValueError, match="more than 16 tokens"):
        Grounding(str(grounding_dino), device="cpu").propose([WIDE], [["dog " * 20]])
    with pytest.raises(ValueError, match="no letter that the detector reads"):
        Grounding(str(grounding_dino), device="cpu").propose([WIDE], [["dog", "(animal)"]])


def test_a_detector_of_either_kind_is_opened_by_its_folder(owl, grounding_dino, encoder):
    for folder in (owl, grounding_dino):
        detector = proposer(str(folder), encoder, "cpu")
        assert detector == OpenVocabulary(str(folder), "cpu")
        assert len(detector.propose([WIDE, HIGH], [["a dog"], ["a cat"]])) == 2


def test_short_names_stand_for_hub_names(encoder):
    assert proposer("owlv2", encoder).name == DETECTORS["owlv2"]


def test_a_detector_that_is_not_there_is_named_with_the_way_out(tmp_path, encoder):
    with pytest.raises(ValueError, match=r"cannot be loaded .* Give dense, owlv2"):
        proposer(str(tmp_path), encoder).propose([WIDE], [["a"]])


def test_a_detector_without_transformers_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ValueError, match=r'pip install "foveal\[detect\]"'):
        Owl(str(tmp_path / "x")).propose([WIDE], [["a"]])
