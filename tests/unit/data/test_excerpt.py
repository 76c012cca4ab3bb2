from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.excerpt import evenly_spaced, excerpt, fewer_than, picture_key
from foveal.data.formats import Jsonl, WebDataset
from foveal.data.scenes import Scenes
from foveal.types import Sample


@dataclass(frozen=True)
class Numbered:
    """Samples of which every fifth is broken."""

    count: int | None
    first: int = 0

    def sample(self, index):
        if index % 5 == 4:
            raise ValueError(f"{index} is broken")
        return Sample(str(index), b"")


def ids(samples):
    return [sample.id if sample else None for sample in samples]


def test_samples_are_spread_over_the_source_and_broken_ones_are_none():
    assert ids(excerpt(Numbered(101), 5)) == ["0", "25", "50", "75", "100"]
    assert ids(excerpt(Numbered(6, first=10), 9)) == ["10", "11", "12", "13", None, "15"]
    assert ids(excerpt(Numbered(None), 3)) == ["0", "1", "2"]


def test_shards_give_their_first_samples(scene_shards):
    assert ids(excerpt(WebDataset(scene_shards), 4)) == [f"scenes-train-0-{number}" for number in (0, 1, 6, 7)]
    assert len(excerpt(WebDataset(scene_shards), 99)) == 12


def test_a_shard_that_breaks_off_gives_what_comes_before(scene_shards, tmp_path):
    whole = min(scene_shards.glob("*.tar")).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    assert 0 < len(excerpt(WebDataset(tmp_path / "cut.tar"), 99)) < 6


@pytest.mark.parametrize(("limit", "count"), [(11.0, None), (12.0, None), (12.5, 12), (99.0, 12)])
def test_how_many_samples_there_are_is_known_if_they_are_fewer(scene_shards, tmp_path, limit, count):
    Jsonl(tmp_path / "a.jsonl").write(Scenes(count=12, size=32))
    assert fewer_than(limit, WebDataset(scene_shards)) == count
    assert fewer_than(limit, Jsonl(tmp_path / "a.jsonl")) == count
    assert fewer_than(limit, Scenes()) is None


def test_reading_ends_in_time(scene_shards):
    assert excerpt(WebDataset(scene_shards), 4, seconds=-1.0) == []


def test_counting_shards_ends_in_time(scene_shards):
    assert fewer_than(99.0, WebDataset(scene_shards), seconds=-1.0) is None


def test_a_picture_is_known_by_its_bytes_wherever_it_lies(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    assert picture_key(tmp_path / "a.jpg") == picture_key(b"picture") != picture_key(b"pictures")
    assert picture_key(tmp_path / "none.jpg") == ""
    assert picture_key(Path(tmp_path)) == ""


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_numbers_are_spread_from_the_first_to_the_last(count, most):
    numbers = evenly_spaced(count, most)
    assert len(numbers) == min(count, most) == len(set(numbers))
    assert numbers == sorted(numbers)
    if min(count, most) > 1:
        assert (numbers[0], numbers[-1]) == (0, count - 1)
        gaps = [b - a for a, b in pairwise(numbers)]
        assert max(gaps) - min(gaps) <= 1
