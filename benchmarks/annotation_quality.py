"""How good the data engine's stages are, beside what was asked, each on data with a known answer.

Phrases on 100 hand-marked captions and on scenes, boxes on COCO's photos beside a box in the center, near misses on
scenes, where their truth is known, and beside FG-OVD's own.
"""

import json
import re
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from foveal.annotation.detectors import Proposed
from foveal.annotation.stages.ground import intersection_over_union
from foveal.annotation.stages.negatives import Negatives
from foveal.annotation.stages.phrases import Phrases, has_spacy, parse
from foveal.data.scenes import NOUNS, Scenes
from foveal.data.scenes.artwork import plural
from foveal.data.scenes.language import NUMBERS, describe
from foveal.data.scenes.truth import COLORS, SIZES, Scene, Tile
from foveal.detection.dense import Dense
from foveal.language.chunker import Phrase
from foveal.language.lexicon import lexicon
from foveal.types import Box, Region, Sample

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
_WORDS = re.compile(r"[a-z]+(?:-[a-z]+)*")


class Mark(NamedTuple):
    """A phrase marked by hand: where it begins and ends, and where its head noun begins."""

    start: int
    end: int
    head: int


def marks(marked: str) -> tuple[str, list[Mark]]:
    """A caption and its phrases, from "[A *dog on [a *sofa]]"."""
    text, open_marks, found = "", [], []
    for letter in marked:
        if letter == "[":
            open_marks.append([len(text), -1])
        elif letter == "]":
            start, head = open_marks.pop()
            found.append(Mark(start, len(text), head))
        elif letter == "*":
            open_marks[-1][1] = len(text)
        else:
            text += letter
    return text, sorted(found)


def agreement(gold: Sequence[Sequence[Mark]], found: Sequence[Sequence[Phrase]]) -> dict[str, tuple[float, float]]:
    """Recall and precision in percent: of head nouns, of cores (from the first word to the noun), of whole phrases."""
    keys: dict[str, Callable[[Mark], object]] = {
        "head": lambda mark: mark.head,
        "core": lambda mark: (mark.start, mark.head),
        "whole": lambda mark: mark,
    }
    scores = {}
    for name, key in keys.items():
        pairs = [
            (set(map(key, own)), {key(Mark(one.start, one.end, one.head_start)) for one in theirs})
            for own, theirs in zip(gold, found, strict=True)
        ]
        right = sum(len(own & theirs) for own, theirs in pairs)
        wanted, given = sum(len(own) for own, _ in pairs), sum(len(theirs) for _, theirs in pairs)
        scores[name] = (100 * right / wanted, 100 * right / given)
    return scores


def phrases_of_captions(parsers: Iterable[Any]) -> None:
    """Agreement with the marks, and speed."""
    rows = json.loads((ROOT / "tests" / "fixtures" / "marked_captions.json").read_text(encoding="utf-8"))["captions"]
    texts, gold = zip(*(marks(row["marked"]) for row in rows), strict=True)
    for parser in parsers:
        list(parse(texts[:2], parser))
        start = process_time()
        found = list(parse(texts, parser))
        speed = len(texts) / (process_time() - start)
        scores = agreement(gold, found)
        told = ", ".join(f"{name} {recall:.1f} / {precision:.1f}" for name, (recall, precision) in scores.items())
        print(
            f"phrases, 100 captions, {parser:5s}: recall / precision {told} ({speed:.0f} captions/s of processor time)"
        )


def said_of(scene: Scene, caption: str) -> list[set[str]]:
    """Of each tile, the full wordings of it that stand in a caption, in lower case."""
    text = caption.lower()
    wordings = (
        {describe(tile, form, definite=definite) for form in range(3) for definite in (False, True)}
        for tile in scene.tiles
    )
    return [{each for each in own if each in text} for own in wordings]


def phrases_of_scenes(parsers: Iterable[Any], count: int) -> None:
    """Share of the tiles' wordings in long captions that are found as phrases, word for word."""
    scenes = Scenes(count=count, size=32)
    samples = list(scenes)
    for parser in parsers:
        right = wanted = 0
        for index, found in enumerate(parse((sample.long_caption for sample in samples), parser)):
            texts = {one.text.lower() for one in found}
            for own in said_of(scenes.truth(index), samples[index].long_caption):
                right, wanted = right + len(own & texts), wanted + len(own)
        print(f"phrases, {count} scenes, {parser:5s}: recall {100 * right / wanted:.2f} % of {wanted} (asked: 95 %)")


PLURALS = {plural(noun): noun for noun in NOUNS}
_NAMES = sorted({*NOUNS, *PLURALS}, key=len, reverse=True)
_FUNCTION = {"a", "an", "the", "tile", "tiles", "square", "squares", "with", "on", "of", *SIZES, *COLORS, *NUMBERS}


def fitting(text: str, scene: Scene) -> tuple[list[Tile], int | None]:
    """The tiles of a scene that a phrase fits, and the number that it says, if it says one."""
    words = _WORDS.findall(text.lower())
    low = f" {' '.join(words)} "
    if re.search(r" oranges?( on .*)? $", low):
        return [], None  # the fruit, which no scene shows
    name = next((name for name in _NAMES if f" {name} " in low), None)
    rest = low.replace(f" {name} ", " ").split() if name else low.split()
    if set(rest) - _FUNCTION:
        return [], None  # it names what no scene holds
    noun = PLURALS.get(name, name) if name else None
    sizes, colors = set(rest) & set(SIZES), set(rest) & set(COLORS)
    found = [
        tile
        for tile in scene.tiles
        if (not sizes or tile.size in sizes)
        and (not colors or tile.color in colors)
        and (noun is None or tile.noun == noun)
    ]
    return found, next((NUMBERS.index(word) for word in rest if word in NUMBERS[2:]), None)


def is_true_of(text: str, scene: Scene) -> bool:
    """Whether a phrase, or what became of one, holds of anything in a scene."""
    words = _WORDS.findall(text.lower())
    if "background" in words:
        return scene.background in words
    found, number = fitting(text, scene)
    return bool(found) if number is None else len(found) == number


def negatives_of_scenes(count: int) -> None:
    """Share of the rules' near misses that are false of everything in their scene."""
    scenes = Scenes(count=count, size=32)
    samples = [replace(sample, regions=(), captions=()) for sample in scenes]
    phrases, negatives = Phrases(parser="rules"), Negatives()
    start = process_time()
    done = [negatives(phrases(sample)) for sample in samples]
    speed = count / (process_time() - start)
    kinds, numbers, wrong = Counter[str](), [], 0
    for index, sample in enumerate(done):
        scene = scenes.truth(index)
        for region in sample.regions:
            if {*SIZES} & {*region.phrase.split()} and {*COLORS} & {*region.phrase.split()}:
                numbers.append(len(region.negatives))
            for negative in region.negatives:
                kinds[negative.kind] += 1
                wrong += is_true_of(negative.text, scene)
    total = sum(kinds.values())
    print(
        f"negatives, {count} scenes, rules: {100 - 100 * wrong / total:.2f} % of {total} false (asked: 99 %), "
        f"{sum(numbers) / len(numbers):.1f} a tile; {speed:.0f} samples/s of processor time with phrases by rules"
    )
    print("    kinds:", ", ".join(f"{kind} {100 * number / total:.0f} %" for kind, number in kinds.most_common()))


def changed(positive: str, negative: str) -> set[str]:
    """The kinds of the words in which a near miss differs from the truth."""
    words = lexicon().senses
    strange = set(_WORDS.findall(negative.lower())) - set(_WORDS.findall(positive.lower()))
    found = {sense.kind for word in strange for sense in words.get(word, ())[:1]}
    return found or {"other"}


def is_grammatical(document: Any) -> bool:
    """Whether a phrase parses as one noun phrase and its articles fit what follows."""
    root = next(token for token in document if token.head == token)
    if root.pos_ not in ("NOUN", "PROPN"):
        return False
    for token, after in pairwise(document):
        if token.lower_ in ("a", "an") and (token.lower_ == "an") != (after.lower_[0] in "aeiou"):
            return False
        if token.lower_ in ("a", "an") and token.head.tag_ == "NNS":
            return False
    return True


def negatives_beside_fg_ovd(count: int) -> None:
    """Kinds and grammar of the rules' near misses of FG-OVD's phrases, beside those that come with the benchmark."""
    from foveal.annotation.stages.phrases import _pipeline

    lines = (SHARED / "fg_ovd" / "h_attributes_llava.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:: max(1, len(lines) // count)]]
    truths = [row["pos_expression"][0].strip(" .") for row in rows]
    samples = [Sample(str(index), b"", regions=(Region((0, 0, 1, 1), truth),)) for index, truth in enumerate(truths)]
    ours = [[one.text for one in Negatives()(sample).regions[0].negatives] for sample in samples]
    theirs = [[text.strip(" .") for text in row["neg_expression"]] for row in rows]
    parsed = _pipeline()
    own = [is_grammatical(document) for document in parsed.pipe(truths)]
    print(f"FG-OVD's {len(truths)} phrases themselves: {100 * sum(own) / len(own):.1f} % grammatical by this measure")
    for name, sets in (("FG-OVD's", theirs), ("rules'", ours)):
        texts = [text for some in sets for text in some]
        kinds = Counter(
            kind for truth, some in zip(truths, sets, strict=True) for text in some for kind in changed(truth, text)
        )
        good = sum(is_grammatical(document) for document in parsed.pipe(texts))
        repeats = sum(len(some) - len(set(some)) for some in sets)
        shares = ", ".join(f"{kind} {100 * number / len(texts):.0f} %" for kind, number in kinds.most_common())
        print(
            f"negatives, FG-OVD hard, {name:8s}: {len(texts) / len(sets):.1f} a phrase, "
            f"{100 * good / len(texts):.1f} % grammatical, {repeats} repeats; {shares}"
        )


def grounding(encoder: str, odd: bool | None) -> None:
    """Share of COCO's classes in a picture, and of all their boxes, found by name at an overlap of one half."""
    folder = SHARED / "coco"
    content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    pictures, names, truths = [], [], []
    for index, image in enumerate(content["images"]):
        own: dict[str, list[Box]] = {}
        width, height = image["width"], image["height"]
        for one in image["boxes"]:
            x, y, w, h = one["bbox"]
            if not one["iscrowd"]:
                box = (x / width, y / height, (x + w) / width, (y + h) / height)
                own.setdefault(content["categories"][str(one["cat"])], []).append(box)
        if own and (odd is None or odd == bool(index % 2)):
            pictures.append(folder / "images" / f"{image['id']:012d}.jpg")
            names.append(list(own))
            truths.append(list(own.values()))
    found = Proposed(Dense(encoder), per_phrase=1).find(pictures, names)
    boxes = [[one.box for one in sorted(some)] for some in found]
    center = (0.1, 0.1, 0.9, 0.9)  # the best of sides 0.4 to 1 on these pictures
    for name, guesses in (("dense features", boxes), ("center box", [[center] * len(own) for own in names])):
        hits = [
            [intersection_over_union(guess, box) >= 0.5 for box in own]
            for some, all_own in zip(guesses, truths, strict=True)
            for guess, own in zip(some, all_own, strict=True)
        ]
        print(
            f"grounding, {len(pictures)} COCO photos, {name:14s}: {100 * sum(map(any, hits)) / len(hits):.1f} % of "
            f"{len(hits)} classes found, recall {100 * sum(map(sum, hits)) / sum(map(len, hits)):.1f} % of all boxes"
        )


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="Scenes, and phrases of FG-OVD.")
    parser.add_argument("--encoder", default="starter", help="What grounds: a name or path for `foveal.load`.")
    parser.add_argument("--odd", action="store_true", help="Ground the photos only that `Dense` was not set up on.")
    parser.add_argument("--skip-grounding", action="store_true", help="Look at texts only.")
    given = parser.parse_args()
    parsers = ["rules", "spacy"] if has_spacy() else ["rules"]
    phrases_of_captions(parsers)
    phrases_of_scenes(parsers, given.count)
    negatives_of_scenes(given.count)
    if SHARED.is_dir() and has_spacy():
        negatives_beside_fg_ovd(given.count)
    if SHARED.is_dir() and not given.skip_grounding:
        grounding(given.encoder, True if given.odd else None)


if __name__ == "__main__":
    main()
