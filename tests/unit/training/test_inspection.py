import json
import re
import shlex
from dataclasses import replace
from itertools import islice

import pytest
import torch

from foveal.configuration import override
from foveal.data.formats import Jsonl, WebDataset
from foveal.data.scenes import Scenes
from foveal.data.texts import FirstSentence
from foveal.distributed import ALONE, World
from foveal.recipes import clip, foveal
from foveal.recipes.lookup import find
from foveal.training.inspection import remarks
from foveal.training.start import train


def lines(run):
    return list(remarks(run, opened(run)))


def opened(run):
    return run.data.open(run.model, batch_size=run.batch_size, seed=0, world=ALONE, workers=0)


def on(run, *sources, batch_size=4, **data):
    return replace(run, batch_size=batch_size, data=replace(run.data, sources=tuple(map(str, sources)), **data))


@pytest.fixture
def written(tmp_path, scene_shards):
    """Scenes as JSON Lines, each changed by its number."""

    def write(change, count=12, name="a.jsonl"):
        samples = list(WebDataset(scene_shards))[:count]
        Jsonl(tmp_path / name).write(change(number, sample) for number, sample in enumerate(samples))
        return tmp_path / name

    return write


def emptied(number, sample):
    return replace(sample, captions=(" ",) if number % 2 else sample.captions)


def test_of_data_that_has_what_is_asked_for_nothing_is_said(scene_shards, written):
    for source in (scene_shards, written(lambda _, sample: sample), "scenes:seed=1"):
        assert lines(on(foveal.smoke(), source)) == []


def test_a_look_moves_neither_the_stream_nor_chance(written):
    run = on(clip.smoke(), written(lambda _, sample: replace(sample, long_caption="one for all")), captions=False)
    plain, looked_at = opened(run), opened(run)
    chance = torch.get_rng_state()
    assert list(remarks(run, looked_at))
    assert torch.equal(torch.get_rng_state(), chance)
    assert looked_at.state_dict() == plain.state_dict()
    batches = [[batch.ids for batch in islice(stream, 5)] for stream in (plain, looked_at)]
    assert batches[0] == batches[1]


def test_empty_captions_are_counted_by_source(written, scene_shards):
    source = written(emptied)
    (line,) = lines(on(clip.smoke(), source, scene_shards, long_captions=False))
    assert line == (
        f"'{source}': 6 of 12 samples looked at have no caption, or an empty one, and count as broken."
        " Add what is missing, or pass over them: --set data.broken_budget=0.55."
    )


def test_where_no_sample_has_a_long_caption_the_way_out_is_to_do_without(written):
    source = written(lambda _, sample: replace(sample, long_caption=""))
    (line,) = lines(on(clip.smoke(), source))
    assert "12 of 12 samples looked at have no long caption" in line
    assert line.endswith("train without long captions, where the recipe can: --set data.long_captions=false.")


def test_captions_that_an_edit_makes_count(written):
    source = written(lambda _, sample: replace(sample, captions=()))
    assert len(lines(on(clip.smoke(), source))) == 1
    assert lines(on(clip.smoke(), source, edits=(FirstSentence(),))) == []


def test_equal_captions_are_said_where_many_are(written):
    few = written(lambda number, sample: replace(sample, captions=("A photo",)) if number < 1 else sample)
    assert lines(on(clip.smoke(), few)) == []
    many = written(lambda number, sample: replace(sample, captions=("A  photo" if number else "a photo",)))
    (line,) = lines(on(clip.smoke(), many))
    assert line.startswith(f"'{many}': 12 of 12 samples looked at have a caption that another one has too.")


def test_equal_pictures_are_said_whatever_their_names(written):
    picture = Scenes(size=32).sample(0).image
    (line,) = lines(on(clip.smoke(), written(lambda number, sample: replace(sample, image=picture))))
    assert "12 of 12 samples looked at have a picture that another one has too" in line


def test_fewer_samples_than_a_batch_are_said_by_source_and_by_its_share(written):
    small = written(lambda _, sample: sample, count=6)
    (line,) = lines(on(clip.smoke(), small, batch_size=64))
    assert line == (
        f"'{small}' has 6 samples, fewer than the 64 of each batch that come from it: pictures are their own"
        " negatives. Add samples, or take a smaller batch: --set batch_size=6."
    )
    assert lines(on(clip.smoke(), small, batch_size=6)) == []
    assert lines(on(clip.smoke(), small, "scenes:", batch_size=12)) == []
    (line,) = lines(on(clip.smoke(), small, "scenes:", batch_size=16, weights=(3.0, 1.0)))
    assert "has 6 samples, fewer than the 12 of each batch" in line
    assert line.endswith("--set batch_size=8.")


def test_the_batch_of_all_ranks_counts(written):
    run = on(clip.smoke(), written(lambda _, sample: sample, count=6), batch_size=8)
    stream = run.data.open(run.model, batch_size=4, seed=0, world=World(0, 2), workers=0)
    (line,) = remarks(run, stream)
    assert "fewer than the 8 of each batch" in line


@pytest.mark.parametrize(
    ("strip", "what", "change"),
    [
        (lambda s: replace(s, regions=()), "regions", "data.regions=0 --set data.negatives=0"),
        (
            lambda s: replace(s, regions=tuple(replace(region, negatives=()) for region in s.regions)),
            "hard negatives of regions",
            "data.negatives=0",
        ),
        (lambda s: replace(s, caption_negatives=()), "hard negatives of captions", "data.caption_negatives=0"),
    ],
)
def test_what_is_asked_for_and_no_source_has_is_said_with_a_way_out_that_silences_it(
    written, scene_shards, strip, what, change
):
    source = written(lambda _, sample: strip(sample))
    run = on(foveal.smoke(), source)
    (line,) = lines(run)
    assert line.startswith(f"None of the 12 samples looked at has {what}, so the terms")
    assert line.endswith(f"leave them out: --set {change}.")
    assert lines(override(run, re.findall(r"--set (\S+?)\.?(?= |$)", line))) == []
    assert lines(on(foveal.smoke(), source, scene_shards)) == []


def test_the_way_out_of_empty_captions_trains(written, tmp_path, caplog):
    """With every other caption empty, the run stops; as its line says, it does not."""
    source = [str(written(emptied))]
    settings = ["steps=1", "batch_size=4", "data.long_captions=false"]
    with pytest.raises(ValueError, match="samples were broken, more than broken_budget="):
        train(clip.smoke(), tmp_path / "a", data=source, changes=settings, progress=False)
    (line,) = [message for message in caplog.messages if "6 of 12 samples looked at have no caption" in message]
    change = shlex.split(line.rstrip("."))[-1]
    train(clip.smoke(), tmp_path / "b", data=source, changes=[*settings, change], progress=False)
    assert json.loads((tmp_path / "b/log.jsonl").read_text())["step"] == 1


@pytest.mark.parametrize(
    ("recipe", "texts"),
    [
        ("finelip", "long_caption"),
        ("long_clip", "caption"),
        ("long_clip", "long_caption"),
        ("c2lip", "caption"),
        ("hn_clip", "long_caption"),
    ],
)
def test_what_an_objective_can_not_do_without_is_refused_before_the_first_step(tmp_path, recipe, texts):
    changes = [f"data.{texts}s=false"]
    run, way = override(find(f"{recipe}:smoke")(), changes), f"data.{texts}s=true"
    message = f"The objective needs the texts '{texts}', and the run's data has none. Use --set {way}."
    with pytest.raises(ValueError, match=re.escape(message)):
        train(run, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    assert override(run, [way]) == find(f"{recipe}:smoke")()


def test_token_sets_that_an_objective_compares_are_asked_for(tmp_path):
    run = override(find("finelip:smoke")(), ["model.tokens=none"])
    with pytest.raises(
        ValueError, match=r"The objective compares the tokens of 'long_caption'\. Use --set model\.tokens=raw"
    ):
        train(run, tmp_path / "run", progress=False)
