"""What is taken away, and why; copies of pictures; contamination by benchmarks."""

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.annotation.duplicates.contamination import contaminated, fingerprints
from foveal.annotation.duplicates.fingerprints import Hashes, picture_hash, text_hashes
from foveal.annotation.duplicates.near_duplicates import near_duplicates, similar_pictures
from foveal.annotation.language.facts import without_article
from foveal.annotation.stage import Dropped, listening
from foveal.annotation.stages.filter import Filter, is_english, is_said, repetition
from foveal.annotation.stages.settings import Settings
from foveal.data.scenes import Scenes
from foveal.types import Negative, Region, Sample

BOX = (0.1, 0.1, 0.6, 0.6)
CAPTION = "A small brown dog sits on a red sofa beside a window."


def noise(seed: int) -> Image.Image:
    """A picture of blurred noise: every seed looks another way."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str = "JPEG", **settings) -> bytes:
    data = BytesIO()
    picture.save(data, kind, **settings)
    return data.getvalue()


def drop(sample: Sample, stage: Filter | None = None) -> str:
    with pytest.raises(Dropped) as caught:
        (stage or Filter())(sample)
    return caught.value.reason


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "no caption"),
        ("Dog.", "caption that is too short"),
        ("dog " * 501, "caption that is too long"),
        ("I'm sorry, but I cannot see the image you are talking about.", "caption that refuses"),
        ("A dog on a sofa " * 6, "caption that repeats itself"),
        ("Ein kleiner brauner Hund sitzt auf einem roten Sofa neben dem Fenster.", "caption that is not English"),
        ("一只棕色的小狗 坐在红色的沙发上", "caption that is not English"),
    ],
)
def test_captions_of_no_use_drop_their_sample(caption, reason):
    assert drop(Sample("a", b"", (caption,))) == reason


def test_a_good_sample_comes_back_equal():
    region = Region(BOX, "a small brown dog", (Negative("a small white dog", "color"),))
    sample = Sample("a", b"", (CAPTION,), "The dog on the red sofa looks out of the window.", (region,))
    with listening() as remarks:
        assert Filter()(sample) == sample
    assert not remarks


def test_a_bad_caption_goes_alone_where_another_stays():
    negatives = (Negative("A cat sits there.", "object"),)
    sample = Sample("a", b"", ("Dog.", CAPTION), "I cannot see the image.", (), negatives, negatives)
    with listening() as remarks:
        done = Filter()(sample)
    assert (done.captions, done.long_caption) == ((CAPTION,), "")
    assert done.caption_negatives == negatives
    assert done.long_caption_negatives == ()
    assert remarks == {"caption that is too short": 1, "caption that refuses": 1}


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("", "phrase that is too short or too long"),
        ("dog " * 41, "phrase that is too short or too long"),
        ("a small white dog", "phrase not in the captions"),
    ],
)
def test_regions_of_no_use_are_taken_away_and_counted(phrase, reason):
    good = Region(BOX, "a red sofa")
    with listening() as remarks:
        done = Filter()(Sample("a", b"", (CAPTION,), regions=(Region(BOX, phrase), good)))
    assert done.regions == (good,)
    assert remarks == {reason: 1}


def test_phrases_that_no_caption_says_may_be_kept():
    region = Region(BOX, "a white cat")
    assert Filter(unsaid=True)(Sample("a", b"", (CAPTION,), regions=(region,))).regions == (region,)


def test_negatives_that_repeat_or_are_the_truth_are_taken_away():
    texts = ["a blue sofa", "The blue sofa", "the red sofa", "", "I'm sorry, I can't help with that.", "a green sofa"]
    region = Region(BOX, "a red sofa", tuple(Negative(text, "color") for text in texts))
    with listening() as remarks:
        (done,) = Filter()(Sample("a", b"", (CAPTION,), regions=(region,))).regions
    assert [one.text for one in done.negatives] == ["a blue sofa", "a green sofa"]
    assert remarks == {"negative that is empty, a repeat or a refusal": 4}
    (few,) = Filter(least_negatives=3)(Sample("a", b"", (CAPTION,), regions=(region,))).regions
    assert few.negatives == ()


def test_numbers_make_other_negatives():
    """They were once stripped with the articles, and all but the first lost."""
    negatives = tuple(Negative(f"{number} dogs", "number") for number in ("four", "five", "six"))
    region = Region(BOX, "two dogs", negatives)
    assert Filter()(Sample("a", b"", ("Two dogs run on a beach.",), regions=(region,))).regions == (region,)


def test_a_region_that_stands_twice_stays_once():
    regions = (Region(BOX, "a red sofa"), Region(BOX, "The red sofa"), Region((0.0, 0.0, 0.5, 0.5), "a red sofa"))
    assert Filter()(Sample("a", b"", (CAPTION,), regions=regions)).regions == (regions[0], regions[2])


def test_shares_are_what_one_counts_by_hand():
    assert repetition(["a", "b", "c", "d"]) == 0
    assert repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 / 5)
    assert repetition([]) == 0
    assert is_said("the small dog", (CAPTION,))
    assert not is_said("a dog beside a cat", ("A dog.", "A cat."))
    assert is_english("Stop sign", ["stop", "sign"])
    assert without_article("The red dog") == without_article("a Red dog") == "red dog"


class Marked:
    """Stands in for an encoder: pictures are b"0" or b"1", texts hold the digit they fit."""

    def encode_images(self, pictures):
        if any(picture == b"broken" for picture in pictures):
            raise ValueError("Picture is broken.")
        return torch.eye(2)[[int(picture) for picture in pictures]]

    def encode_texts(self, texts, kind="caption"):
        return torch.eye(2)[[int("one" in text) for text in texts]]


def test_captions_that_do_not_fit_their_picture_drop_it(unchecked):
    stage = Filter(similarity=0.5, encoder=Marked())
    texts = [
        (b"0", "There is zero of it."),
        (b"1", "There is zero of it."),
        (b"broken", "There is one."),
        (b"1", "There is one."),
    ]
    samples = [Sample(str(index), image, (text,)) for index, (image, text) in enumerate(texts)]
    first, second, third, last = stage.batch([*samples[:2], samples[2], samples[3]])
    assert (first, last) == (samples[0], samples[3])
    assert isinstance(second, Dropped)
    assert second.reason == "caption that does not fit its picture"
    assert isinstance(third, ValueError)
    either = replace(samples[1], long_caption="There is one of it.")
    assert stage(either) == either


def test_hashes_survive_scaling_and_compression_and_tell_pictures_apart():
    values = {}
    for seed in range(12):
        picture = noise(seed)
        values[seed] = picture_hash(encoded(picture, "PNG"))
        for copy in (
            encoded(picture, quality=40),
            encoded(picture.resize((400, 300))),
            encoded(picture.resize((80, 60)), "WEBP"),
        ):
            assert (values[seed] ^ picture_hash(copy)).bit_count() <= 6
    numbers = list(values.values())
    assert min((one ^ other).bit_count() for i, one in enumerate(numbers) for other in numbers[:i]) > 20


def test_the_hash_says_which_cell_is_brighter():
    ramp = np.tile(np.linspace(255, 0, 90, dtype=np.uint8), (90, 1))
    value = picture_hash(encoded(Image.fromarray(ramp), "PNG"))
    assert value >> 64 == (1 << 64) - 1  # each cell is brighter than its right neighbor
    assert value & ((1 << 64) - 1) == 0  # and none than the one below
    assert picture_hash(encoded(Image.new("RGB", (90, 90), "red"), "PNG")) is None


def test_parity_hashes_within_the_radius_are_found_as_by_looking_at_all():
    rng = np.random.default_rng(0)
    known = [int.from_bytes(rng.bytes(16), "big") for _ in range(300)]
    hashes = Hashes(radius=6)
    for index, value in enumerate(known):
        hashes.add(value, str(index))
    assert len(hashes) == 300
    for _ in range(300):
        value = known[rng.integers(300)]
        for bit in rng.choice(128, rng.integers(0, 12), replace=False):
            value ^= 1 << int(bit)
        distance, name = min(((value ^ other).bit_count(), str(index)) for index, other in enumerate(known))
        assert hashes.find(value) == (name if distance <= 6 else None)


def test_a_radius_beyond_the_bits_is_refused():
    with pytest.raises(ValueError, match="Radius 99"):
        Hashes(radius=99)


def test_texts_are_the_same_without_case_and_marks_and_short_ones_are_nobodys():
    assert set(text_hashes("A dog, on a SOFA!")) == set(text_hashes("a dog on a sofa"))
    assert not set(text_hashes("a red dog"))
    long = " ".join(f"word{index}" for index in range(30))
    assert len(set(text_hashes(long))) == 18
    assert set(text_hashes(long)) & set(text_hashes("So it began: " + long[50:]))


def test_later_copies_are_near_duplicates():
    pictures = [noise(0), noise(1), noise(0).resize((320, 240)), noise(2)]
    samples = [Sample(str(index), encoded(picture), (CAPTION,)) for index, picture in enumerate(pictures)]
    found = near_duplicates(samples)
    assert found == {"2"}
    assert drop(samples[2], Filter(duplicates=found)) == "near-duplicate picture"
    assert Filter(duplicates=found)(samples[0]) == samples[0]


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_embeddings_find_copies_of_what_is_kept_only(unchecked, batch_size):
    class Angles:
        def encode_images(self, pictures):
            angle = torch.tensor([float(picture) for picture in pictures])
            return torch.stack([angle.cos(), angle.sin()], 1)

    angles = ["0", "0.1", "0.25", "1.5", "0.3"]  # 0.1 is near 0; 0.25 is near 0.1 only, which is gone
    samples = [Sample(str(index), angle.encode()) for index, angle in enumerate(angles)]
    assert similar_pictures(samples, Angles(), least=float(np.cos(0.2)), batch_size=batch_size) == {"1", "4"}


@pytest.fixture
def benchmark(tmp_path):
    """A benchmark of two pictures, one without its file, and their captions."""
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(encoded(noise(7)))
    rows = [
        {"id": "a", "image": "a.jpg", "captions": ["Two horses run along a beach."]},
        {"id": "b", "image": "gone.jpg", "captions": ["A cat sleeps in a blue bowl."]},
    ]
    (folder / "bench.jsonl").write_text("\n".join(map(json.dumps, rows)))
    yield f"bench={folder / 'bench.jsonl'}"
    fingerprints.cache_clear()


@pytest.mark.parametrize(
    ("picture", "caption", "reason"),
    [
        (7, CAPTION, "picture of bench"),
        (8, "two horses run along a beach", "caption of bench"),
        (8, "A cat sleeps, in a blue bowl!", "caption of bench"),
        (8, CAPTION, ""),
    ],
)
def test_pictures_and_captions_of_a_benchmark_are_found(benchmark, picture, caption, reason):
    stage = Filter.of(Settings(contamination=(benchmark,)))
    sample = Sample("x", encoded(noise(picture).resize((300, 200)), quality=60), (caption,))
    if reason:
        assert drop(sample, stage) == reason
    else:
        assert stage(sample) == sample
    assert contaminated(sample, (), None) == ""


def test_a_folder_of_pictures_is_a_benchmark_too(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(noise(3), "PNG"))
    assert (
        drop(Sample("x", encoded(noise(3)), (CAPTION,)), Filter(benchmarks=(str(tmp_path),)))
        == f"picture of {tmp_path}"
    )


def test_scenes_are_good_samples():
    for sample in Scenes(count=5, size=32):
        assert Filter(unsaid=True)(sample) == sample


def test_a_broken_picture_is_named_when_it_must_be_looked_at(benchmark):
    with pytest.raises(ValueError, match="cannot be read"):
        Filter(benchmarks=(benchmark,))(Sample("x", b"broken", (CAPTION,)))
