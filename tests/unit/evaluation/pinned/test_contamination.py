"""What a model's card, protocol and run say of its training data, and what of it touches a protocol."""

import json
from dataclasses import replace

import pytest

from foveal.encoder.checkpoint import datasets_of
from foveal.evaluation.pinned.contamination import flags, training_of
from foveal.evaluation.pinned.registry import find
from oracle.agreement import opened


def flags_of(protocol, *training):
    return flags(find(protocol), "mine", training)["flags"]


@pytest.mark.parametrize(
    ("front", "names"),
    [
        ("datasets:\n- laion/laion2B-en\n- 'docci'\nlicense: mit", ("laion/laion2B-en", "docci")),
        ("license: mit\ndatasets:\n  - a.b\n  - c", ("a.b", "c")),
        ("datasets: [coco, sa-1b]", ("coco", "sa-1b")),
        ("datasets: coco", ("coco",)),
        ("license: mit", ()),
    ],
)
def test_a_card_names_data_sets(tmp_path, front, names):
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# Model\ndatasets: [no, front]\n")
    assert datasets_of(tmp_path / "README.md") == names
    assert datasets_of(tmp_path / "absent.md") == ()


def test_a_checkpoint_carries_the_data_sets_of_its_card_and_its_run(tmp_path):
    (tmp_path / "README.md").write_text("---\ndatasets: [docci]\n---\n")
    encoder = opened("fg_clip", tmp_path)
    assert encoder.protocol.training == ("docci",)
    assert training_of(encoder, tmp_path) == ("docci",)
    run = tmp_path / "run"
    encoder.save(run)
    (run / "data.json").write_text(json.dumps([{"spec": "coco.jsonl"}, {"spec": "docci"}]))
    assert training_of(encoder, run) == training_of(encoder, run / "checkpoints/step-000001") == ("docci", "coco.jsonl")
    (run / "data.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"data.json does not list a run's data"):
        training_of(encoder, run)


def test_what_was_trained_on_is_flagged_by_pictures_captioner_and_domain():
    assert flags_of("urban1k@1000") == ["unknown: the training data of mine are not listed"]
    assert flags_of("urban1k@1000", "cc3m") == ["none known: mine was trained on cc3m"]
    assert flags_of("urban1k@1000", "cc3m", "visual_genome") == [
        "pictures: visual-genome, as in visual_genome, which the model was trained on"
    ]
    assert flags_of("urban1k@1000", "Lin-Chen/ShareGPT4V")[-1].startswith("captioner: gpt-4v, as in Lin-Chen")
    assert flags_of("docci@test5000", "google/docci") == ["in-domain: trained on google/docci"]
    assert flags_of("reircoco@val-first", "ms-coco")[-1].startswith("pictures: coco-train2014, as in ms-coco")
    assert flags_of("fg-ovd@hard", "ms-coco") == ["none known: mine was trained on ms-coco"]


def test_what_is_known_of_a_protocol_stays():
    pinned = replace(find("urban1k@1000"), flags=("selected-by: a relative",))
    assert flags(pinned, "mine", ())["flags"] == ["selected-by: a relative"]
