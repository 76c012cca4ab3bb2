"""WordNet's files: made here, and the real ones where they are installed."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from foveal.annotation.stages.negatives import Negatives, flaw
from foveal.configuration import override
from foveal.language.facts import evidence, other_facts, read
from foveal.language.wordnet import WordNet
from foveal.types import Negative, Region, Sample

DEBIAN = Path("/usr/share/wordnet")
BOX = (0.1, 0.1, 0.6, 0.6)
# words, the number of the file of synsets, and what the synset is a kind of; the first sense of a word stands first
SYNSETS = (
    (("entity",), "03", None),
    (("lute_family", "zupfer"), "06", 0),
    (("banjo", "banjax"), "06", 1),
    (("zither",), "06", 1),
    (("mandora", "mandore"), "06", 1),
    (("Strad",), "06", 1),
    (("rare_lute",), "06", 1),
    (("bandura",), "06", 2),
    (("sitarist",), "18", 0),
    (("zither",), "18", 8),
    (("kobza",), "06", 1),
    (("mandora",), "06", 2),
    (tuple(f"flute{letter}" for letter in "abcdefghijklmnop"), "06", 0),  # their number is written in base 16
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder of WordNet's files with a dozen synsets, and a licence above them."""
    folder = tmp_path_factory.mktemp("wordnet")
    licence = "  1 This is no WordNet.  \n"
    below = {number: [n for n, one in enumerate(SYNSETS) if one[2] == number] for number in range(len(SYNSETS))}

    def lines(places):
        for number, (words, file, above) in enumerate(SYNSETS):
            links = [("@", above)] if above is not None else []
            links += [("~", other) for other in below[number]] + [("%p", 0)]
            told = " ".join(f"{symbol} {places[to]:08d} n 0000" for symbol, to in links)
            named = " ".join(f"{word} 0" for word in words)
            yield f"{places[number]:08d} {file} n {len(words):02x} {named} {len(links):03d} {told} | a gloss  \n"

    places, at = [], len(licence)
    for line in lines([0] * len(SYNSETS)):
        places.append(at)
        at += len(line)
    (folder / "data.noun").write_text(licence + "".join(lines(places)))
    senses = {}
    for place, (words, _, _) in zip(places, SYNSETS, strict=True):
        for word in words:
            senses.setdefault(word.lower(), []).append(f"{place:08d}")
    index = [
        f"{word} n {len(own)} 2 @ ~ {len(own)} {int(word != 'kobza')} {' '.join(own)}  \n"
        for word, own in sorted(senses.items())
    ]
    (folder / "index.noun").write_text(licence + "".join(index))
    return folder


def sample_of(*phrases, captions=()):
    return Sample("a", b"", captions or phrases, regions=tuple(Region(BOX, phrase) for phrase in phrases))


def test_rivals_are_common_words_of_sisters_that_cannot_name_the_same(tiny):
    words = WordNet(tiny)
    assert words.rivals("zither") == ("banjo", "banjax", "mandora", "mandore")  # none rare, capital, or of two words
    assert words.rivals("banjo") == ("zither", "mandore")  # a mandora is also a kind of banjo
    assert words.rivals("sitarist") == ()  # people are several things at once
    assert words.rivals("entity") == words.rivals("nothing") == ()


def test_a_synset_may_have_many_words(tiny):
    assert WordNet(tiny).may_name("flutea", "flutep")
    assert WordNet(tiny).may_name("flutea", "entity")
    assert not WordNet(tiny).may_name("flutea", "banjo")


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ("banjo", "banjax", True),
        ("banjo", "zupfer", True),
        ("Bandura", "lute family", True),
        ("banjo", "mandora", True),
        ("zither", "sitarist", True),
        ("banjo", "zither", False),
        ("bandura", "zither", False),
        ("bandura", "unheard", False),
        ("unheard", "unheard", True),
    ],
)
def test_synonyms_and_kinds_may_name_the_same_either_way(tiny, one, other, may):
    assert WordNet(tiny).may_name(one, other) is WordNet(tiny).may_name(other, one) is may


def test_nouns_beyond_our_lists_get_near_misses(tiny):
    sample = sample_of("an old banjo", "two zithers")
    assert not any(region.negatives for region in Negatives(kinds=("object",))(sample).regions)
    made = Negatives(kinds=("object",), wordnet=tiny)(sample)
    first, second = ({near.text for near in region.negatives} for region in made.regions)
    assert first == {"an old mandore"}  # the picture shows zithers, too
    assert second == {"two mandores"}  # and a banjo, which a mandora may be
    assert all(near.kind == "object" for region in made.regions for near in region.negatives)
    assert Negatives(kinds=("object",), wordnet=tiny)(sample) == made
    assert pickle.loads(pickle.dumps(Negatives(wordnet=tiny)))(sample) == Negatives(wordnet=tiny)(sample)  # noqa: S301


def test_what_other_texts_name_is_spared_whatever_they_call_it(tiny):
    made = Negatives(kinds=("object",), wordnet=tiny)(sample_of("a zither", captions=("A zither beside a bandura.",)))
    assert {near.text for near in made.regions[0].negatives} == {"a mandora", "a mandore"}  # a bandura is a banjo


def test_a_synonym_that_an_assistant_writes_is_refused(tiny):
    truth = read("a banjo on the floor")
    known = other_facts(truth, evidence(["a banjo on the floor"], ()), ["a banjo on the floor"])

    def judged(text, wordnet):
        return flaw(Negative(text, "object"), truth.text, truth, known, wordnet)

    assert judged("a banjax on the floor", None) == ""
    assert judged("a banjax on the floor", WordNet(tiny)) == "negative that is a synonym"
    assert judged("a zupfer on the floor", WordNet(tiny)) == "negative that is a synonym"
    assert judged("a zither on the floor", WordNet(tiny)) == ""


def test_a_folder_without_it_is_refused_in_one_line_and_a_command_line_can_name_it(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"no WordNet in '.*': index.noun is missing. Name the folder.*wordnet-base"):
        override(Negatives(), [f"wordnet={tmp_path}"])
    assert override(Negatives(), [f"wordnet={tiny}"]) == replace(Negatives(), wordnet=tiny)


@pytest.mark.skipif(not (DEBIAN / "data.noun").is_file(), reason="Debian's wordnet-base is not installed")
def test_the_real_one_knows_instruments_and_kinds_of_dogs():
    words = WordNet(DEBIAN)
    assert {"guitar", "piano"} <= set(words.rivals("banjo"))
    assert "chair" not in words.rivals("armchair")
    assert words.may_name("puppy", "animal")
    assert not words.may_name("dog", "cat")
    near = Negatives(wordnet=DEBIAN)(sample_of("a trowel")).regions[0].negatives
    assert "a shovel" in {one.text for one in near}
