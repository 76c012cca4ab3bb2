from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from foveal.annotation.duplicates.fingerprints import Hashes, picture_hash, text_hashes


def png(picture: Image.Image) -> bytes:
    data = BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def test_hashes_survive_scaling_and_compression_and_tell_pictures_apart(noisy):
    values = [picture_hash(noisy(number, kind="PNG")) for number in range(12)]
    for number, value in enumerate(values):
        copies = noisy(number, quality=40), noisy(number, (400, 300)), noisy(number, (80, 60), "WEBP")
        assert max((value ^ picture_hash(copy)).bit_count() for copy in copies) <= 6
    assert min((left ^ right).bit_count() for place, left in enumerate(values) for right in values[:place]) > 20


def test_the_hash_says_which_cell_is_brighter_than_its_right_neighbor_and_than_the_one_below():
    ramp = np.tile(np.linspace(255, 0, 90, dtype=np.uint8), (90, 1))
    ones = (1 << 64) - 1
    assert picture_hash(png(Image.fromarray(ramp))) == ones << 64
    assert picture_hash(png(Image.fromarray(ramp.T))) == ones
    assert picture_hash(png(Image.fromarray(ramp[:, ::-1]))) == 0
    dark_corner = np.full((9, 9), 200, np.uint8)
    dark_corner[:1, 1:2] = 0  # brighter is the first cell than its right neighbor; no other cell is than another
    assert picture_hash(png(Image.fromarray(dark_corner))) == 1 << 127


@pytest.mark.parametrize(("contrast", "has_hash"), [(0, False), (6, False), (10, True)])
def test_a_picture_of_nearly_one_color_has_no_hash(contrast, has_hash):
    halves = np.full((90, 90), 100, np.uint8)
    halves[:, 45:] += contrast  # a standard deviation of half of it
    assert (picture_hash(png(Image.fromarray(halves))) is not None) == has_hash


def test_a_turned_photo_is_compared_as_it_is_seen(noisy):
    picture = Image.open(BytesIO(noisy(3, kind="PNG")))
    data = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter
    picture.transpose(Image.Transpose.ROTATE_90).save(data, "PNG", exif=exif)
    assert picture_hash(data.getvalue()) == picture_hash(noisy(3, kind="PNG"))


@pytest.mark.parametrize("radius", [0, 6])
def test_parity_hashes_within_the_radius_are_found_as_by_looking_at_all(radius):
    rng = np.random.default_rng(0)
    known = [int.from_bytes(rng.bytes(16), "big") for _ in range(300)]
    hashes = Hashes(radius)
    for index, value in enumerate(known):
        hashes.add(value, str(index))
    assert len(hashes) == 300
    for _ in range(300):
        value = known[rng.integers(300)]
        for bit in rng.choice(128, rng.integers(0, 2 * radius + 1), replace=False):
            value ^= 1 << int(bit)
        distance, name = min(((value ^ other).bit_count(), str(index)) for index, other in enumerate(known))
        assert hashes.find(value) == (name if distance <= radius else None)


def test_the_nearest_of_several_is_found_and_of_equals_the_first():
    hashes = Hashes()
    for name, value in (("far", 0b1111), ("near", 0b1), ("as near", 0b10)):
        hashes.add(value, name)
    assert hashes.find(0) == "near"
    assert hashes.find((1 << 128) - 1) is None


@pytest.mark.parametrize("radius", [-1, 32, 99])
def test_a_radius_beyond_the_bits_is_refused(radius):
    with pytest.raises(ValueError, match=f"Radius {radius} must be from 0 to 31 bits of 128"):
        Hashes(radius)


def test_texts_are_the_same_without_case_and_marks_and_short_ones_are_nobodys():
    assert set(text_hashes("A dog, on a SOFA!")) == set(text_hashes("a dog on a sofa"))
    assert not set(text_hashes("a big red dog"))
    assert len(set(text_hashes("a big red dog barks"))) == 1


@pytest.mark.parametrize(("words", "count"), [(12, 1), (13, 1), (14, 2), (30, 18)])
def test_a_text_has_a_hash_for_each_thirteen_words_in_a_row(words, count):
    text = " ".join(f"word{index}" for index in range(words))
    assert len(set(text_hashes(text))) == count


def test_texts_that_share_thirteen_words_share_a_hash_and_those_that_share_twelve_do_not():
    words = [f"word{index}" for index in range(20)]
    hashes = set(text_hashes(" ".join(words)))
    assert hashes & set(text_hashes("So it began: " + " ".join(words[7:])))
    assert not hashes & set(text_hashes("So it began: " + " ".join(words[8:])))
