import unicodedata

import numpy as np
import pytest

from foveal.data.scenes import ATTRIBUTION, NOUNS
from foveal.data.scenes.artwork import artwork, plural


def test_attribution_names_project_and_licence():
    assert "OpenMoji" in ATTRIBUTION
    assert "CC BY-SA 4.0" in ATTRIBUTION
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in ATTRIBUTION


def test_there_are_many_nouns_and_all_are_words_of_unicode():
    assert len(NOUNS) > 100
    assert len(set(NOUNS.values())) == len(NOUNS)
    for noun, emoji in NOUNS.items():
        assert len(emoji) == 1
        assert noun
        assert set(noun.split()) <= set(unicodedata.name(emoji).lower().split())


def test_every_noun_has_a_picture_of_the_asked_size_unlike_all_others():
    seen = {}
    for noun in NOUNS:
        picture = artwork(noun, 48)
        assert picture.mode == "RGBA"
        assert max(picture.size) == 48
        pixels = np.asarray(picture.resize((12, 12)), dtype=float)
        assert (pixels[..., 3] > 128).mean() > 0.08, f"{noun} is hardly there"
        seen[noun] = pixels * (pixels[..., 3:] / 255)
    stack = np.stack([pixels.ravel() for pixels in seen.values()])
    distances = np.abs(stack[:, None] - stack[None]).mean(-1) + 255 * np.eye(len(stack))
    assert distances.min() > 8


def test_a_picture_keeps_its_shape_at_every_size():
    large, small = artwork("giraffe", 160), artwork("giraffe", 20)
    assert large.width / large.height == pytest.approx(small.width / small.height, abs=0.05)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("apple", "apples"),
        ("strawberry", "strawberries"),
        ("key", "keys"),
        ("fox", "foxes"),
        ("peach", "peaches"),
        ("bus", "buses"),
        ("octopus", "octopuses"),
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("tomato", "tomatoes"),
        ("flamingo", "flamingos"),
        ("hot dog", "hot dogs"),
    ],
)
def test_plurals_are_english(one, many):
    assert one in NOUNS
    assert plural(one) == many
