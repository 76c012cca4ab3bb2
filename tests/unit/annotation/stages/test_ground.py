"""Boxes for phrases: the choice among boxes, and what proposes them."""

import pickle
from collections.abc import Sequence

import pytest
import torch

from foveal.annotation.detectors import PUBLISHED, AssistantDetector, Detection, Proposed
from foveal.annotation.stage import WHOLE, BatchStage, listening
from foveal.annotation.stages.ground import Choice, Ground, GroundByAsking, intersection_over_union
from foveal.annotation.stages.settings import Settings
from foveal.data.images import ImageTransform
from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.detection.dense import Dense
from foveal.detection.lookup import OpenVocabulary
from foveal.encoder import Encoder
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.types import Region, Sample

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def sample_of(*phrases: str, image=b"") -> Sample:
    return Sample("a", image, ("A caption.",), regions=tuple(Region(WHOLE, phrase) for phrase in phrases))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(LEFT, LEFT, 1.0), (LEFT, RIGHT, 0.0), (LEFT, WHOLE, 0.5), ((0.0, 0.0, 0.2, 0.1), (0.1, 0.0, 0.3, 0.1), 1 / 3)],
)
def test_overlap_is_what_one_counts_by_hand(one, other, expected):
    assert intersection_over_union(one, other) == pytest.approx(expected)
    assert intersection_over_union(other, one) == pytest.approx(expected)


def test_of_boxes_that_cover_one_another_the_surest_stays_whatever_its_phrase():
    found = [Detection(0, LEFT, 0.5), Detection(1, (0.0, 0.0, 0.5, 0.9), 0.8), Detection(2, RIGHT, 0.6)]
    assert Choice()(found) == [found[1], found[2]]
    assert Choice(overlap=0.95)(found) == [found[1], found[2], found[0]]


def test_boxes_are_clipped_and_tiny_ones_dropped():
    found = [
        Detection(0, (-0.5, 0.1, 0.4, 1.5), 0.9),
        Detection(1, (0.5, 0.5, 0.51, 0.9), 0.9),
        Detection(2, (2.0, 2.0, 3.0, 3.0), 0.9),
    ]
    with listening() as remarks:
        assert [one.box for one in Choice()(found)] == [(0.0, 0.1, 0.4, 1.0)]
    assert remarks["box that is too small"] == 2


def test_a_phrase_gets_as_many_boxes_as_are_wanted():
    found = [Detection(0, LEFT, 0.5), Detection(0, RIGHT, 0.6)]
    sample = sample_of("a dog")
    assert [region.box for region in Choice().place(sample, found).regions] == [RIGHT]
    assert len(Choice(boxes=2).place(sample, found).regions) == 2


def test_phrases_without_a_box_go_and_regions_with_one_stay():
    sample = sample_of("a dog", "a cat")
    known = Region(LEFT, "a bird")
    with listening() as remarks:
        done = Choice().place(
            Sample("a", b"", regions=(*sample.regions, known)), [Detection(1, (0.2, 0.2, 0.4, 0.4), 0.9)]
        )
    assert done.regions == (known, Region((0.2, 0.2, 0.4, 0.4), "a cat"))
    assert remarks["phrase not found"] == 1


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


def test_a_broken_picture_costs_its_own_sample_alone(unchecked):
    stage = Ground(Proposed(Dense(Painted())))
    samples = [sample_of("left"), sample_of("left", image=b"broken"), Sample("b", b"broken"), sample_of("right")]
    first, second, third, last = stage.batch(samples)
    assert (first, third, last) == (stage(samples[0]), samples[2], stage(samples[3]))
    assert isinstance(second, ValueError)
    with pytest.raises(ValueError, match="broken"):
        stage(samples[1])


def test_a_real_encoder_of_any_size_grounds_scenes():
    config = tiny()
    encoder = Encoder(
        DualEncoder(config).eval(),
        Tokenizer.clip(),
        ImageTransform(size=config.vision.image_size, patch_size=config.vision.patch_size),
    )
    sample = next(iter(Scenes(count=1, size=32)))
    phrases = [region.phrase for region in sample.regions]
    stage = Ground(Proposed(Dense(encoder)), Choice(overlap=1.0, least=0.0))
    done = stage.batch([sample_of(*phrases, image=sample.image), sample_of(*phrases, image=sample.image)])
    assert [region.phrase for region in done[0].regions] == phrases
    assert done[0] == done[1]
    assert isinstance(stage, BatchStage)


def test_an_assistant_points_in_thousandths(scripted):
    told = scripted({"items": [{"number": 2, "boxes": [[0, 0, 500, 1000]]}, {"number": 1, "boxes": []}]})
    stage = GroundByAsking(AssistantDetector(told))
    done = stage(sample_of("a dog", "a cat", image=b"picture"))
    assert done.regions == (Region(LEFT, "a cat"),)
    assert told.questions[0][1] == b"picture"
    assert "1. a dog\n2. a cat" in told.questions[0][0]
    assert stage.concurrency == 6
    assert stage(done) is done
    assert not isinstance(stage, BatchStage)


def test_settings_choose_the_detector():
    dense = Ground.of(Settings(device="cpu"))
    assert dense.detector == Proposed(Dense("starter", device="cpu"))
    assert pickle.loads(pickle.dumps(dense)) == dense  # noqa: S301  # our own
    named = Ground.of(Settings(detector="some/model")).detector
    assert named == Proposed(OpenVocabulary("some/model", words=True), PUBLISHED)
    assert Ground.of(Settings(detector="owlv2")).detector.proposer.name == "google/owlv2-base-patch16-ensemble"
    with pytest.raises(ValueError, match="needs an endpoint"):
        Ground.of(Settings(detector="assistant"))
