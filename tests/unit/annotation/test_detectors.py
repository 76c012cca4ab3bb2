"""Boxes of phrases: dense features, an assistant that points, detectors of `transformers` with random weights."""

import itertools
from collections.abc import Sequence

import pytest
import torch

from foveal.annotation.detectors import AssistantDetector, Dense, Detection, OpenVocabulary, heaviest_box

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def test_parity_the_heaviest_box_matches_a_search_of_all():
    for seed in range(8):
        torch.manual_seed(seed)
        similarity = torch.randn(5, 7)
        level = 0.6
        values = similarity - (similarity.min() + level * (similarity.max() - similarity.min()))
        best = max(
            (
                (values[y0:y1, x0:x1].sum().item(), (x0, y0, x1, y1))
                for x0, x1 in itertools.combinations(range(8), 2)
                for y0, y1 in itertools.combinations(range(6), 2)
            )
        )
        assert heaviest_box(similarity, level) == best[1]


def test_a_lit_rectangle_is_its_own_box_and_a_flat_map_is_whole():
    similarity = torch.zeros(10, 12)
    similarity[2:5, 3:9] = 1
    assert heaviest_box(similarity, 0.5) == (3, 2, 9, 5)
    assert heaviest_box(torch.ones(4, 6), 0.5) == (0, 0, 6, 4)
    large = similarity.repeat_interleave(10, 0).repeat_interleave(10, 1)
    assert heaviest_box(large, 0.5) == pytest.approx((30, 20, 90, 50), abs=4)


class Painted:
    """Stands in for an encoder: pictures are maps, and the two words point along two axes."""

    def encode_patches(self, pictures):
        if any(picture == b"broken" for picture in pictures):
            raise ValueError("Picture of 6 bytes is broken.")
        patches = torch.zeros(len(pictures), 4, 4, 3)
        patches[:, :, :2, 0] = 1
        patches[:, :, 2:, 1] = 1
        return patches

    def encode_texts(self, texts: Sequence[str], kind: str = "caption"):
        assert kind == "phrase"
        rows = torch.eye(3)
        return torch.stack([rows[["left", "right"].index(text)] if text in "left right" else rows[2] for text in texts])


@pytest.mark.parametrize("phrases", [("left",), ("left", "right"), ("right", "left")])
def test_dense_features_find_what_fits_the_words(unchecked, phrases):
    (detections,) = Dense(Painted()).find([b""], [phrases])
    boxes = {"left": LEFT, "right": RIGHT}
    assert detections == [Detection(number, boxes[name], 1.0) for number, name in enumerate(phrases)]


def test_each_picture_is_looked_at_for_its_own_phrases(unchecked):
    left, neither, right = Dense(Painted()).find([b"", b"", b""], [["left"], [], ["right"]])
    assert [detection.box for detection in (*left, *right)] == [LEFT, RIGHT]
    assert neither == []


@pytest.mark.parametrize(("threshold", "count"), [(1.0, 1), (1.01, 0)])
def test_a_phrase_below_the_threshold_has_no_box(unchecked, threshold, count):
    (detections,) = Dense(Painted(), threshold=threshold).find([b""], [["left"]])
    assert len(detections) == count


class Shared:
    """Stands in for an encoder: one word fits the left half, another the whole picture and the left half best."""

    def encode_patches(self, pictures):
        patches = torch.zeros(1, 4, 4, 2)
        patches[..., 0] = 0.5
        patches[:, :, :2] = torch.tensor([0.6, 0.8])
        return patches

    def encode_texts(self, texts, kind="caption"):
        return torch.stack([torch.eye(2)[int(text == "left")] for text in texts])


@pytest.mark.parametrize(("contrast", "box"), [(0.0, LEFT), (1.0, RIGHT)])
def test_what_another_phrase_fits_better_counts_against_a_phrase(unchecked, contrast, box):
    (detections,) = Dense(Shared(), contrast=contrast).find([b""], [["everything", "left"]])
    assert detections[0].box == box
    assert detections[1].box == LEFT


class Told:
    """Answers as it was told."""

    concurrency = 5

    def __init__(self, *answers):
        self.answers, self.questions = list(answers), []

    def ask(self, question, schema, picture=None, check=None):
        self.questions.append((question, picture))
        answer = self.answers.pop(0)
        return answer if check is None else check(answer)


def test_an_assistant_points_in_thousandths_at_numbers_of_its_question():
    told = Told(
        {"items": [{"number": 2, "boxes": [[0, 0, 500, 1000], [500, 0, 1000, 1000]]}, {"number": 1, "boxes": []}]},
        {"items": [{"number": 1, "boxes": [[0, 0, 1000, 1000]]}]},
    )
    (detections,) = AssistantDetector(told, at_once=2).find([b"picture"], [["a dog", "a cat", "a bird"]])
    assert detections == [Detection(1, LEFT, 1.0), Detection(1, RIGHT, 1.0), Detection(2, (0.0, 0.0, 1.0, 1.0), 1.0)]
    assert [picture for _, picture in told.questions] == [b"picture", b"picture"]
    assert "1. a dog\n2. a cat" in told.questions[0][0]
    assert "1. a bird" in told.questions[1][0]


@pytest.mark.parametrize("box", [[500, 0, 400, 10], [0, 0, 1001, 10], [-1, 0, 5, 5], [3, 3, 3, 9], [3, 9, 9, 9]])
def test_boxes_that_are_none_are_refused(box):
    with pytest.raises(ValueError, match=r"is not \[x0, y0, x1, y1\] within 0 to 1000"):
        AssistantDetector(Told({"items": [{"number": 1, "boxes": [box]}]})).find([b""], [["a dog"]])


@pytest.mark.parametrize("number", [0, 2])
def test_boxes_of_no_phrase_are_refused(number):
    with pytest.raises(ValueError, match=f"number {number} is none of the phrases, which go from 1 to 1"):
        AssistantDetector(Told({"items": [{"number": number, "boxes": []}]})).find([b""], [["a dog"]])


def test_a_detector_that_is_not_there_is_named_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded"):
        OpenVocabulary(str(tmp_path)).find([b""], [["a dog"]])


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "dog", "cat", "red"]


@pytest.fixture(scope="module")
def grounding_dino(tmp_path_factory):
    """A Grounding DINO of random weights, with its processor, in a folder."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    folder = tmp_path_factory.mktemp("dino")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    text = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64,
    )  # fmt: skip
    vision = SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=vision, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=6,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_text_len=16,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"))
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 192}), tokenizer
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def owl(tmp_path_factory):
    """An OWLv2 of random weights, with its processor, in a folder."""
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    folder = tmp_path_factory.mktemp("owl")
    letters = [chr(code) for code in range(97, 123)]
    tokens = ["!", "<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], pad_token="!", model_max_length=16
    )
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config={
            **size, "vocab_size": len(tokens), "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2,
            "pad_token_id": 0,
        },
        vision_config={**size, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )  # fmt: skip
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [pytest.param("grounding_dino", marks=pytest.mark.slow), "owl"])
def test_detectors_of_transformers_find_boxes_of_each_phrase(kind, request, picture):
    folder = request.getfixturevalue(kind)
    pictures = [picture(3, size=(60, 40)), picture(5, size=(40, 60))]
    detector = OpenVocabulary(str(folder), threshold=0.0, at_once=2)
    phrases = [["a dog", "a red cat", "a cat"], ["a cat"]]
    found = detector.find(pictures, phrases)
    assert {one.phrase for one in found[0]} == {0, 1, 2}
    for own in found:
        for one in own:
            assert 0 <= one.score <= 1
            assert all(-1 < value < 3 for value in one.box)
    alone = detector.find(pictures[:1], [["a red cat"]])[0]
    together = [one for one in found[0] if one.phrase == 1]
    torch.testing.assert_close(
        torch.tensor(sorted(one.box for one in together)),
        torch.tensor(sorted(one.box for one in alone)),
        atol=1e-3,
        rtol=0,
    )
    middle = sorted(one.score for one in found[0])[len(found[0]) // 2]
    surer = OpenVocabulary(str(folder), threshold=middle, at_once=2).find(pictures, phrases)
    assert surer[0] == [one for one in found[0] if one.score > middle]
    assert 0 < len(surer[0]) < len(found[0])
