"""Boxes of phrases: of what proposes boxes for names, and of an assistant that points."""

import pytest
import torch

from foveal.annotation.detectors import AssistantDetector, Detection, Proposed
from foveal.detection.lookup import OpenVocabulary
from foveal.detection.proposals import Proposals, no_proposals

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


class Proposing:
    """Proposes three boxes and how sure it is of two phrases; of no phrases nothing."""

    def propose(self, pictures, names):
        scores = torch.tensor([[0.9, 0.1], [0.3, 0.5], [0.6, 0.41]])
        boxes = torch.tensor([[*LEFT], [*RIGHT], [0.0, 0.0, 0.25, 0.5]])
        known = Proposals(boxes, scores.amax(dim=1), scores)
        return [known if phrases else no_proposals(0) for phrases in names]


def test_a_phrase_gets_the_best_boxes_above_the_threshold():
    detector = Proposed(Proposing(), threshold=0.4, per_phrase=1)
    assert [(one.phrase, one.box) for one in detector.find([b""], [["a dog", "a cat"]])[0]] == [(0, LEFT), (1, RIGHT)]
    more, neither = Proposed(Proposing(), threshold=0.4).find([b"", b""], [["a dog", "a cat"], []])
    assert sorted(round(one.score, 2) for one in more) == [0.41, 0.5, 0.6, 0.9]
    assert neither == []


def test_a_proposer_that_knows_no_names_cannot_ground():
    class Nameless:
        def propose(self, pictures, names):
            return [no_proposals() for _ in pictures]

    with pytest.raises(ValueError, match="needs a proposer that scores names"):
        Proposed(Nameless()).find([b""], [["a dog"]])


def test_an_assistant_points_in_thousandths_at_numbers_of_its_question(scripted):
    told = scripted(
        {"items": [{"number": 2, "boxes": [[0, 0, 500, 1000], [500, 0, 1000, 1000]]}, {"number": 1, "boxes": []}]},
        {"items": [{"number": 1, "boxes": [[0, 0, 1000, 1000]]}]},
    )
    (detections,) = AssistantDetector(told, at_once=2).find([b"picture"], [["a dog", "a cat", "a bird"]])
    assert detections == [Detection(1, LEFT, 1.0), Detection(1, RIGHT, 1.0), Detection(2, (0.0, 0.0, 1.0, 1.0), 1.0)]
    assert [picture for _, picture in told.questions] == [b"picture", b"picture"]
    assert "1. a dog\n2. a cat" in told.questions[0][0]
    assert "1. a bird" in told.questions[1][0]


@pytest.mark.parametrize("box", [[500, 0, 400, 10], [0, 0, 1001, 10], [-1, 0, 5, 5], [3, 3, 3, 9], [3, 9, 9, 9]])
def test_boxes_that_are_none_are_refused(box, scripted):
    with pytest.raises(ValueError, match=r"is not \[x0, y0, x1, y1\] within 0 to 1000"):
        AssistantDetector(scripted({"items": [{"number": 1, "boxes": [box]}]})).find([b""], [["a dog"]])


@pytest.mark.parametrize("number", [0, 2])
def test_boxes_of_no_phrase_are_refused(number, scripted):
    with pytest.raises(ValueError, match=f"number {number} is none of the phrases, which go from 1 to 1"):
        AssistantDetector(scripted({"items": [{"number": number, "boxes": []}]})).find([b""], [["a dog"]])


def test_a_detector_that_is_not_there_is_named_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded"):
        Proposed(OpenVocabulary(str(tmp_path))).find([b""], [["a dog"]])
