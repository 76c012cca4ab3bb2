"""F-ViT as a recipe: small and whole, cut and resumed, opened as a proposer, and what it learns on made-up scenes."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import foveal
from foveal.configuration import override
from foveal.data.images import ImageTransform
from foveal.data.scenes import Scenes
from foveal.data.scenes.truth import COLORS
from foveal.detection.detect import OF_TRAINED
from foveal.detection.letterbox import letterboxed, stacked
from foveal.detection.lookup import proposer
from foveal.detection.trained import Trained, Vocabulary, open_detector_folder
from foveal.evaluation.average_precision import Truth, average_precision
from foveal.evaluation.segmentation import Counts, count_pixels, mean_iou
from foveal.models.boxes import iou
from foveal.models.detector import Fusion, best_boxes
from foveal.recipes import fg_clip
from foveal.recipes.fvit import Boxes, demo, fvit, smoke
from foveal.training.logbook import read
from foveal.training.trainer import fit
from foveal.types import Detections


@pytest.fixture(scope="module")
def run():
    small = smoke()
    return replace(small, data=replace(small.data, sources=("scenes:seed=0,size=32,count=16",)))


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    return fit(run, tmp_path_factory.mktemp("fvit") / "run", progress=False)


def test_the_papers_run_learns_48_classes_and_keeps_17_apart():
    vocabulary = fvit().model.vocabulary
    assert (len(vocabulary.names), len(vocabulary.novel)) == (65, 17)
    assert vocabulary.is_novel(["dog", "person", "a red mug"]).tolist() == [True, False, True]
    assert demo().model.vocabulary.names == tuple(COLORS)
    with pytest.raises(ValueError, match="'cow' is none of the classes"):
        Vocabulary(("dog",), ("cow",))


def test_resumed_it_has_the_same_weights_and_log(run, trained, tmp_path):
    short = replace(run, steps=3)
    fit(short, tmp_path / "cut", progress=False)
    fit(run, tmp_path / "cut", resume=True, progress=False)
    whole, cut = (load_file(folder / "detector.safetensors") for folder in (trained, tmp_path / "cut"))
    logs = [[line["terms"] for line in read(folder / "log.jsonl")] for folder in (trained, tmp_path / "cut")]
    assert set(logs[0][0]) == {"proposal", "proposal_box", "class", "box"}
    assert logs[0][:3] == logs[1][:3]  # then the rates differ: the schedule knows the number of steps
    assert whole.keys() == cut.keys()


def test_it_opens_as_it_was_saved(run, trained):
    opened = open_detector_folder(trained, "cpu")
    assert opened.vocabulary == run.model.vocabulary
    again = run.model.open(trained)
    for name, tensor in opened.detector.state_dict().items():
        assert again.state_dict()[name].equal(tensor)


def test_it_proposes_boxes_for_any_names(trained):
    encoder = foveal.load(trained / "encoder", device="cpu")
    detector = proposer(str(trained), encoder)
    assert detector == Trained(trained)
    pictures = [Image.effect_noise((40, 24), 90).convert("RGB"), Image.new("RGB", (24, 40))]
    wide, tall = detector.propose(pictures, [["red", "a dog"], ["yellow"]])
    assert wide.class_score.shape[1] == 2
    assert tall.class_score.shape[1] == 1
    assert ((wide.boxes >= 0) & (wide.boxes <= 1)).all()
    boxes = foveal.detect(encoder, pictures, ["red", "a dog"], proposals=detector)[0]
    best = foveal.detect(encoder, pictures, ["red", "a dog"], proposals=detector, rescoring=OF_TRAINED)[0]
    torch.testing.assert_close(boxes.score, best.score)


def row_of(data, boxes, size=(40, 20), side=32, seed=0):
    rng = np.random.default_rng(seed)
    return data._view(Image.effect_noise(size, 90).convert("RGB"), boxes, side, rng, ImageTransform())


def test_a_picture_lies_in_the_corner_and_its_boxes_with_it():
    letter, boxes = row_of(Boxes(jitter=(1.0, 1.0), flip=0.0), [(0.5, 0.0, 1.0, 1.0)])
    assert (letter.width, letter.height) == (32, 16)
    assert boxes.tolist() == [[16.0, 0.0, 32.0, 16.0]]
    pixels, sizes = stacked([letter], ImageTransform())
    assert sizes.tolist() == [[32.0, 16.0]]
    assert pixels[0, :, 16:].abs().max() < 0.02  # the mean color


def test_a_mirrored_picture_has_mirrored_boxes():
    _, plain = row_of(Boxes(jitter=(1.0, 1.0), flip=0.0), [(0.0, 0.25, 0.25, 1.0)])
    _, mirrored = row_of(Boxes(jitter=(1.0, 1.0), flip=1.0), [(0.0, 0.25, 0.25, 1.0)])
    assert plain.tolist() == [[0.0, 4.0, 8.0, 16.0]]
    assert mirrored.tolist() == [[24.0, 4.0, 32.0, 16.0]]


@pytest.mark.parametrize("jitter", [(0.1, 0.1), (2.0, 2.0), (0.7, 1.7)])
def test_jittered_boxes_are_cut_with_the_picture(jitter):
    for seed in range(5):
        letter, boxes = row_of(Boxes(jitter=jitter, flip=0.5), [(0.0, 0.0, 1.0, 1.0), (0.4, 0.4, 0.6, 0.6)], seed=seed)
        assert letter.pixels.shape == (32, 32, 3)
        assert boxes[0].tolist() == [0.0, 0.0, letter.width, letter.height]
        assert (boxes[1, 2:] <= torch.tensor([letter.width, letter.height])).all()


def test_classes_are_whole_phrases_or_words():
    base = {"dog": 0, "red": 1}
    assert Boxes()._name("hot dog", base) is None
    assert Boxes()._name("dog", base) == "dog"
    assert Boxes(match="word")._name("a small red tile", base) == "red"


def test_letterboxes_keep_the_aspect():
    letter = letterboxed(Image.new("RGB", (100, 50)), 64, ImageTransform())
    assert (letter.width, letter.height) == (64, 32)


SIZE = 96


def truth_of(scenes: Scenes, index: int) -> Truth:
    boxes = torch.tensor(scenes.boxes(index)).float() / SIZE
    return Truth(boxes, [list(COLORS).index(tile.color) for tile in scenes.truth(index).tiles])


@torch.no_grad()
def measured(folder: Path, count: int = 150) -> dict[str, float]:
    """Recall of 100 proposals, and AP50 of base and novel colors by the head alone and fused."""
    opened = open_detector_folder(folder, "cpu")
    scenes, detector = Scenes(split="test", count=count, size=SIZE), opened.detector
    truths = [truth_of(scenes, index) for index in range(count)]
    novel = detector.novel
    kinds: dict[str, Fusion] = {"head": Fusion(0.0, 0.0), "fused": Fusion(0.1, 0.8, scale=40.0)}
    detections: dict[str, list[Detections]] = {kind: [] for kind in kinds}
    hits: list[torch.Tensor] = []
    for index in range(count):
        picture = Image.open(BytesIO(scenes.sample(index).image)).convert("RGB")
        pixels, sizes = stacked([letterboxed(picture, SIZE, opened.encoder.transform)], opened.encoder.transform)
        for kind, fusion in kinds.items():
            (candidates,) = detector.candidates(pixels, sizes, detector.classes, novel, fusion)
            boxes, score, label = best_boxes(candidates)
            detections[kind].append(Detections(boxes / SIZE, score, label, tuple(COLORS), SIZE, SIZE))
        best = candidates.objectness.argsort(descending=True)[:100]
        hits.append((iou(truths[index].boxes, candidates.boxes[best] / SIZE).amax(dim=1) >= 0.5).float())
    rows = {"base": (~novel).nonzero()[:, 0].tolist(), "novel": novel.nonzero()[:, 0].tolist()}
    precision = {kind: average_precision(truths, found, len(COLORS)) for kind, found in detections.items()}
    figures = {f"{kind} {name}": precision[kind].mean(rows[name]) for kind in kinds for name in rows}
    return {"recall": float(torch.cat(hits).mean()), **figures}


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """A tower that has seen boxes and phrases of all colors: 300 steps of 16."""
    words = ["data.captions=false", "data.long_captions=false", "data.negatives=0", "steps=300", "batch_size=16"]
    run = override(fg_clip.demo(), [*words, "machine.workers=0"])
    return fit(run, tmp_path_factory.mktemp("tower") / "run", progress=False)


@pytest.mark.slow
def test_colors_that_were_never_learned_are_found_by_the_encoders_help(tower, tmp_path):
    """Two of eight colors are kept out, 300 steps of 8. Reached: recall 0.998, base 90.8, novel 61.7 against 35.1."""
    run = demo()
    figures = measured(fit(replace(run, model=replace(run.model, tower=str(tower))), tmp_path / "run", progress=False))
    assert figures["recall"] >= 0.95
    assert figures["fused base"] >= 85
    assert figures["fused novel"] >= max(55, 1.5 * figures["head novel"])


@pytest.mark.slow
def test_tiles_are_segmented_by_their_colors_without_training(tower):
    """Three times chance at least. Reached: 64.7 against 6.6."""
    encoder, scenes = foveal.load(tower, device="cpu"), Scenes(split="test", count=40, size=SIZE)
    rows, chance = [], []
    for index in range(40):
        truth = torch.full((SIZE, SIZE), 255)
        for (x0, y0, x1, y1), tile in zip(scenes.boxes(index), scenes.truth(index).tiles, strict=True):
            truth[y0:y1, x0:x1] = list(COLORS).index(tile.color)
        labels = encoder.segment([scenes.sample(index).image], list(COLORS), templates=("a {} tile",))[0].labels
        rows.append(count_pixels(labels, truth, len(COLORS)))
        chance.append(count_pixels(torch.randint(len(COLORS), (SIZE, SIZE)), truth, len(COLORS)))
    miou, least = (float(mean_iou(Counts(*map(torch.stack, zip(*part, strict=True))))[0]) for part in (rows, chance))
    assert miou >= 3 * least
