"""What every recipe must do: say itself, be changed by words, and, cut small, train to a model that can be opened."""

import dataclasses
import json
import shutil
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foveal.configuration import describe, override
from foveal.data.formats import WebDataset
from foveal.encoder import Encoder
from foveal.losses import RankingThreshold
from foveal.models.config import ModelConfig
from foveal.models.dual_encoder import DualEncoder
from foveal.recipes.fg_clip2 import Carrying, Objective
from foveal.recipes.lookup import find, names, recipes_of
from foveal.training.logbook import read
from foveal.training.run import CarryingObjective
from foveal.training.trainer import fit

ALL = [f"{name}:{function}" for name in names() for function in recipes_of(import_module(f"foveal.recipes.{name}"))]
ENCODERS = [name for name in names() if isinstance(find(f"{name}:smoke")().model, ModelConfig)]
"""Recipes of dual encoders. Those of other modules have their own tests in `tests/unit/recipes`."""


@pytest.mark.parametrize("name", names())
def test_a_recipe_has_the_papers_run_a_demo_and_a_smoke(name):
    module = import_module(f"foveal.recipes.{name}")
    functions = set(recipes_of(module))
    assert {"demo", "smoke"} <= functions
    assert functions - {"demo", "smoke"}
    assert f"foveal train {name}" in module.__doc__
    named = name if name in functions else None
    if named is None:
        with pytest.raises(ValueError, match=f"'{name}' has no recipe '{name}'. It has: demo, smoke, "):
            find(name)
    else:
        assert find(name)().name == name


@pytest.mark.parametrize("name", ALL)
class TestEveryRun:
    def test_describes_itself_in_json_and_is_the_same_each_time(self, name):
        run = find(name)()
        described = describe(run)
        assert json.loads(json.dumps(described, allow_nan=False)) == described
        assert (run, hash(run)) == (find(name)(), hash(find(name)()))
        assert run.name.split(".")[0] == name.split(":")[0]

    def test_every_field_is_read_back_from_its_words(self, name):
        run = find(name)()
        assignments = [f"{path}={text}" for path, text in words_of(run)]
        assert len(assignments) > 40
        assert override(run, assignments) == run

    def test_its_model_can_be_built(self, name):
        if name.split(":")[0] not in ENCODERS:
            pytest.skip("no dual encoder: its own tests build it")
        with torch.device("meta"):
            model = DualEncoder(find(name)().model)
        assert sum(parameter.numel() for parameter in model.parameters()) > 1e6

    def test_the_batch_is_shared_out_in_whole_micro_batches(self, name):
        run = find(name)()
        assert run.batch_size % run.machine.micro_batches == 0
        assert run.optimizer.warmup_steps < run.steps


@pytest.mark.parametrize("name", ENCODERS)
class TestEverySmoke:
    def test_every_term_is_finite_and_reaches_parameters(self, name, scene_shards):
        run = find(f"{name}:smoke")()
        model = DualEncoder(run.model)
        objective = run.objective.start() if isinstance(run.objective, CarryingObjective) else run.objective
        terms = objective(model(one_batch(on(run, scene_shards))))
        assert terms
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for term, loss in terms.items():
            assert loss.isfinite(), term
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            found = [gradient for gradient in gradients if gradient is not None]
            assert all(gradient.isfinite().all() for gradient in found), term
            assert sum(gradient.abs().sum() for gradient in found) > 0, term

    def test_trains_resumes_bit_for_bit_and_opens(self, name, scene_shards, tmp_path):
        run = on(find(f"{name}:smoke")(), scene_shards)
        whole = fit(run, tmp_path / "whole", progress=False)
        log = [line | {"speed": None} for line in read(whole / "log.jsonl")]
        assert [line["step"] for line in log] == [1, 2]
        assert all(torch.tensor([line["loss"], *line["terms"].values()]).isfinite().all() for line in log)

        cut = tmp_path / "cut"
        cut.mkdir()
        shutil.copy(whole / "run.json", cut)
        shutil.copytree(whole / "checkpoints/step-000001", cut / "checkpoints/step-000001")
        shutil.copy(whole / "log.jsonl", cut)
        fit(run, cut, resume=True, progress=False)
        assert [line | {"speed": None} for line in read(cut / "log.jsonl")] == log
        weights = [load_file(folder / "model.safetensors") for folder in (cut, whole)]
        assert all(weights[0][key].equal(value) for key, value in weights[1].items())

        encoder = Encoder.open(whole)
        picture = next(iter(sources_of(run))).image
        for rows in (encoder.encode_images([picture]), encoder.encode_texts(["a red apple"], "long_caption")):
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(1))
        assert encoder.encode_regions([picture], [[(0.0, 0.0, 0.5, 0.5)]])[0].isfinite().all()


OFF = (
    "data.captions=false",
    "data.long_captions=false",
    "data.regions=0",
    "data.negatives=0",
    "data.caption_negatives=0",
    "model.tokens=none",
    "model.refine=none",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_whatever_is_left_out_a_run_learns_or_is_refused_with_what_to_set(name, scene_shards, tmp_path):
    """No assertion, no type error: each of them is left out, both texts, and all."""
    for number, changes in enumerate([*((change,) for change in OFF), OFF[:2], OFF]):
        run = replace(override(on(find(f"{name}:smoke")(), scene_shards), list(changes)), steps=1)
        refusal = ""
        try:
            fit(run, tmp_path / str(number), progress=False)
        except ValueError as error:
            refusal = str(error)
        if refusal:
            assert "--set " in refusal, changes
            assert "\n" not in refusal, changes
        else:
            assert read(tmp_path / str(number) / "log.jsonl")[0]["loss"] > 0, changes


@dataclass(frozen=True)
class Reached:
    """FG-CLIP 2's objective with a threshold that a long training has reached."""

    weights: Objective
    value: float

    def start(self):
        return Carrying(self.weights, Standing(self.value))


class Standing(RankingThreshold):
    """A threshold that no step changes."""

    def __init__(self, value):
        super().__init__()
        self.value = torch.tensor(value)

    def update(self, *_, **__):
        pass


def test_the_threshold_of_fg_clip2_is_in_its_checkpoint_and_counts_when_resumed(scene_shards, tmp_path):
    run = on(find("fg_clip2:smoke")(), scene_shards)
    folder = fit(replace(run, objective=Reached(run.objective, 3.0)), tmp_path / "run", progress=False)
    (folder / "run.json").write_text(json.dumps(describe(run)))
    state = load_file(folder / "checkpoints/step-000001/training.safetensors")
    assert state["/objective/value"] == 3
    shutil.rmtree(folder / "checkpoints/step-000002")
    before = read(folder / "log.jsonl")
    fit(run, folder, resume=True, progress=False)
    assert [line["terms"] for line in read(folder / "log.jsonl")] == [line["terms"] for line in before]
    lead_of_nothing = 3 * run.objective.ranking
    assert all(line["terms"]["ranking"] > lead_of_nothing / 2 for line in before)


def words_of(value, path=""):
    """Every field of a dataclass tree and what one would write to set it."""
    for field in dataclasses.fields(value):
        member, name = getattr(value, field.name), f"{path}{field.name}"
        if dataclasses.is_dataclass(member):
            yield from words_of(member, f"{name}.")
        elif isinstance(member, tuple) and any(dataclasses.is_dataclass(each) for each in member):
            continue  # parts such as `edits` are set in a recipe
        else:
            yield name, json.dumps(member) if isinstance(member, tuple) else str(member)


def on(run, shards):
    """The run on given scenes, for two steps of four pictures."""
    data = replace(run.data, sources=(str(shards),), shuffle_buffer=4)
    optimizer = replace(run.optimizer, warmup_steps=1)
    machine = replace(run.machine, workers=0, checkpoint_every=1)
    return replace(run, data=data, optimizer=optimizer, machine=machine, batch_size=4, steps=2)


def sources_of(run):
    return WebDataset(Path(run.data.sources[0]))


def one_batch(run):
    batcher = run.data.batcher(run.model)
    return batcher.collate([batcher.prepare(sample) for sample in islice(sources_of(run), 4)])
