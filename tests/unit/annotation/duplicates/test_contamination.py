import json

import pytest

from foveal.annotation import Dropped, Filter, Settings
from foveal.annotation.duplicates.contamination import contaminated, fingerprints
from foveal.annotation.duplicates.fingerprints import picture_hash
from foveal.types import Sample

CAPTION = "A small brown dog sits on a red sofa beside a window."


@pytest.fixture
def benchmark(tmp_path, noisy):
    """A benchmark of two pictures, one without its file, and their captions."""
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(noisy(7))
    rows = [
        {"id": "a", "image": "a.jpg", "captions": ["Two horses run along a beach."]},
        {"id": "b", "image": "gone.jpg", "captions": ["A cat sleeps in a blue bowl."]},
    ]
    (folder / "bench.jsonl").write_text("\n".join(map(json.dumps, rows)))
    yield f"bench={folder / 'bench.jsonl'}"
    fingerprints.cache_clear()


@pytest.mark.parametrize(
    ("picture", "caption", "long_caption", "reason"),
    [
        (7, CAPTION, "", "picture of bench"),
        (8, "two horses run along a beach", "", "caption of bench"),
        (8, CAPTION, "A cat sleeps, in a blue bowl!", "caption of bench"),
        (8, CAPTION, CAPTION, ""),
    ],
)
def test_pictures_and_captions_of_a_benchmark_are_kept_out(benchmark, noisy, picture, caption, long_caption, reason):
    sample = Sample("x", noisy(picture, (300, 200), quality=60), (caption,), long_caption)
    assert contaminated(sample, (benchmark,), picture_hash(sample.image)) == reason
    assert contaminated(sample, (), picture_hash(sample.image)) == ""
    stage = Filter.of(Settings(contamination=(benchmark,)))
    if reason:
        with pytest.raises(Dropped, match=reason):
            stage(sample)
    else:
        assert stage(sample) == sample


def test_a_picture_without_a_hash_is_judged_by_its_caption_alone(benchmark):
    assert contaminated(Sample("x", b"", (CAPTION,)), (benchmark,), None) == ""
    assert contaminated(Sample("x", b"", ("Two horses run along a beach.",)), (benchmark,), None) == "caption of bench"


def test_pictures_that_are_not_there_are_counted_with_a_line(benchmark, caplog):
    assert len(fingerprints(benchmark).pictures) == 1
    assert "1 pictures are not there; only their captions are compared" in caplog.text


def test_a_folder_of_pictures_is_a_benchmark_too(tmp_path, noisy):
    (tmp_path / "a.png").write_bytes(noisy(3, kind="PNG"))
    assert contaminated(Sample("x", b""), (str(tmp_path),), picture_hash(noisy(3))) == f"picture of {tmp_path}"


def test_how_near_a_picture_must_be_is_given_in_bits(benchmark, noisy):
    sample, near = Sample("x", b""), picture_hash(noisy(7)) ^ 0b111
    assert contaminated(sample, (benchmark,), near, radius=3) == "picture of bench"
    assert contaminated(sample, (benchmark,), near, radius=2) == ""


def test_a_broken_picture_is_named_when_it_must_be_looked_at(benchmark):
    with pytest.raises(ValueError, match="cannot be read"):
        Filter(benchmarks=(benchmark,))(Sample("x", b"broken", (CAPTION,)))
