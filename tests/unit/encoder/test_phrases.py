import pytest

from foveal.encoder.phrases import MOST, phrases_of


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("a cat", ["a cat"]),
        ("A brown bear, next to a river and a red canoe.", ["A brown bear", "a river", "a red canoe"]),
        ("There is a dog. It is a photo of the dog with a ball; a tree", ["a dog", "the dog", "a ball", "a tree"]),
        ("This is a sandy beach - a tower behind trees", ["a sandy beach", "a tower", "trees"]),
        ("a dog and a dog", ["a dog"]),
        ("handball within sandwich", ["handball within sandwich"]),
        ("the", ["the"]),
        ("  ", []),
    ],
)
def test_a_text_falls_into_what_it_speaks_of(text, phrases):
    assert phrases_of(text) == phrases


def test_no_text_has_more_phrases_than_can_be_shown():
    assert len(phrases_of(", ".join(f"thing {n}" for n in range(40)))) == MOST
