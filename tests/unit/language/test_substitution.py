from itertools import chain
from random import Random

import pytest

from foveal.language.facts import read
from foveal.language.substitution import changes, rewrite


def rewritten(phrase: str, kind: str) -> set[str]:
    reading = read(phrase)
    return {rewrite(change).text for change in chain(*changes(reading, Random(0), (kind,)))}


@pytest.mark.parametrize(
    ("phrase", "kind", "expected"),
    [
        ("a gray dog", "color", "an orange dog"),
        ("an orange car", "color", "a blue car"),
        ("A gray dog", "color", "An orange dog"),
        ("a wooden chair", "material", "a metal chair"),
        ("a chair made of metal", "material", "a chair made of wood"),
        ("a striped shirt", "pattern", "a dotted shirt"),
        ("a large cup", "size", "a small cup"),
        ("two dogs", "number", "five dogs"),
        ("a dog to the left of a cat", "position", "a dog to the right of a cat"),
        ("a dog under a table", "position", "a dog on top of a table"),
        ("a man sitting on a bench", "action", "a man standing on a bench"),
        ("a dog on a sofa", "object", "a cat on a sofa"),
        ("two dogs", "object", "two sheep"),
        ("three women", "object", "three men"),
        ("a black cell phone", "object", "a black clock"),
        ("an apple", "object", "a banana"),
    ],
)
def test_one_term_gives_way_and_the_grammar_is_kept(phrase, kind, expected):
    assert expected in rewritten(phrase, kind)


def test_a_shirt_is_no_synonym_nor_something_that_may_be_true_as_well():
    assert not rewritten("a sofa", "object") & {"a couch", "a bench", "a bed"}
    assert not rewritten("a man", "object") & {"a person", "a guy", "a player"}
    assert not rewritten("a navy shirt", "color") & {"a blue shirt", "a purple shirt"}
    assert not rewritten("a light blue shirt", "color") & {"a light black shirt", "a light white shirt"}


@pytest.mark.parametrize(
    "phrase", ["a hot dog", "a teddy bear", "a couple of dogs", "a man and his dog", "a light bulb"]
)
def test_halves_of_fixed_words_and_people_with_pronouns_are_kept(phrase):
    texts = rewritten(phrase, "object") | rewritten(phrase, "number") | rewritten(phrase, "color")
    assert not any("hot cat" in text or "teddy l" in text or "a three of" in text for text in texts)
    assert not any(text.startswith(("a woman and his", "a dark bulb")) for text in texts)
