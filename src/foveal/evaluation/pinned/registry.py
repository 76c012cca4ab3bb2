"""Every protocol by name, as the tables in `tables/` say. A new protocol of a known kind is a table there.

A name is `family@variant`: the variant says what differs in the data. What differs in how a model takes images and
texts is no part of it: that belongs to the checkpoint.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...types import Kind
from ..result import EqualTexts, Ties

TaskName = Literal[
    "retrieval",
    "grouped-gallery",
    "ranking",
    "choice",
    "two-positives",
    "group-choice",
    "regions",
    "box-classes",
    "oracle-boxes",
    "segmentation",
    "classes",
    "ladder",
    "yes-no",
    "detection",
    "grounding",
]
TextRule = Literal["raw", "stripped", "rejoined"]

TABLES = Path(__file__).parent / "tables"
_NAME = re.compile(r"[a-z0-9+-]+@[A-Za-z0-9_+-]+")

ALIASES: Mapping[str, str] = {
    "scenes": "scenes@test1000",
    "scenes_long": "scenes-long@test1000",
    "fg_ovd_hard": "fg-ovd@hard",
    "fg_ovd_medium": "fg-ovd@medium",
    "fg_ovd_easy": "fg-ovd@easy",
    "fg_ovd_trivial": "fg-ovd@trivial",
    "sugar_crepe": "sugarcrepe@7",
    "coco_captions": "coco@val2017-x5",
    "coco_boxes": "coco-boxes@val2017-80",
    "pope@random": "pope@coco-random",
    "pope@popular": "pope@coco-popular",
    "pope@adversarial": "pope@coco-adversarial",
}
"""Older names of benchmarks, and what they are called now."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "@long": ("urban1k@1000", "docci@test5000", "dci@extra7602", "sharegpt4v@first1000"),
    "@short": ("coco@val2017-x5", "flickr30k@karpathy1k"),
    "@fine": ("fg-ovd@hard", "fg-ovd@medium", "fg-ovd@easy", "fg-ovd@trivial"),
    "@boxes": ("coco-boxes@val2017-80", "lvis-boxes@minival-1203"),
    "@compose": (
        "sugarcrepe@7",
        "sugarcrepe++@itt",
        "winoground@400",
        "aro@vg-relation",
        "aro@vg-attribution",
        "aro@coco-order",
        "aro@flickr-order",
        "valse@agreed",
        "vl-checklist@v1",
        "mmvp-vlm@135",
    ),
    "@chinese": (
        "flickr30k-cna@test1k",
        "coco-cn@test1k-x5",
        "lit-cn@33010",
        "dci-cn@all",
        "docci-cn@test",
        "boxclass-cn@566",
    ),
    "@local": ("sorce1k@1023", "reircoco@val-first", "ilias@core1000"),
    "@imagenet": (
        "imagenet@val-80",
        "imagenet-v2@matched-80",
        "imagenet-a@200",
        "imagenet-r@200",
        "imagenet-sketch@1000",
        "objectnet@113",
    ),
}
"""Several protocols under one word."""


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """A protocol by name: which data are measured, how, and what is known of them.

    Attributes:
        name: `family@variant`.
        title: What it is, in one line.
        task: The kind of question.
        kind: How the model takes the texts.
        reader: Which file of `readers/` knows its layouts.
        options: What the reader is told, such as a split.
        text: What is done to texts before anything else. "rejoined" is LoTLIP's rule, see `reading.rejoined`.
        data: sha256 of the canonical form. Empty: nobody with the data has pinned it yet, so counts alone are compared.
        unseen: Why no test takes that hash anew from the files; it was then made by others alone. Empty: one does.
        data_by_position: sha256 of the canonical form with positions for ids, for layouts that give no names.
        labels: sha256 of class names and prompts alone.
        parts: sha256 by the kind of cases, where published numbers are given by kind.
        images: How many there are. 0: unknown.
        rows: How many texts, cases, boxes or questions there are. 0: unknown.
        rules: Version of the scoring rules.
        equal_texts: Whether a text is right with its own image alone, or with every image of an equal text.
        ties: What a wrong answer that scores exactly as the right one counts as.
        directions: Of retrieval.
        runnable: False: its data can be checked, and its numbers come from elsewhere than a dual encoder.
        why_not: Why it is not runnable.
        licence: Of images and texts.
        get: Where its files are to be had, and where they go.
        also: Hashes of copies that differ, and how.
        cite: The paper.
        pitfalls: What goes wrong with it.
        source_images: Where its images come from, as training lists name them.
        captioner: Who or what wrote its texts.
        flags: What is known of training data that comes from the same hand.
    """

    name: str
    title: str
    task: TaskName
    kind: Kind = "caption"
    reader: str
    options: Mapping[str, Any] = field(default_factory=dict)
    text: TextRule = "raw"
    data: str = ""
    unseen: str = ""
    data_by_position: str = ""
    labels: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    images: int = 0
    rows: int = 0
    rules: int = 1
    equal_texts: EqualTexts = "own"
    ties: Ties = "half"
    directions: tuple[str, ...] = ("image_to_text", "text_to_image")
    runnable: bool = True
    why_not: str = ""
    licence: str = ""
    get: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)
    cite: str = ""
    pitfalls: tuple[str, ...] = ()
    source_images: tuple[str, ...] = ()
    captioner: str = "human"
    flags: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The part of the name before "@"."""
        return self.name.partition("@")[0]


@cache
def registry() -> Mapping[str, Pinned]:
    """Return all protocols by name, family by family.

    Raises:
        ValueError: If a table has an unknown field, or a name is no name.
    """
    return {pinned.name: pinned for path in sorted(TABLES.glob("*.toml")) for pinned in read_table(path)}


def read_table(path: Path) -> list[Pinned]:
    """Return the protocols of one file: a table each, which inherits what stands before the first of them.

    Raises:
        ValueError: If a field is unknown or missing, or a name is no name. The message names file and field.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    shared = {key: value for key, value in content.items() if "@" not in key}
    protocols = []
    for name, table in content.items():
        if name in shared:
            continue
        if not _NAME.fullmatch(name):
            raise ValueError(f'{path.name}: "{name}" is no name of a protocol. Write family@variant.')
        protocols.append(_pinned(path, name, {**shared, **table}))
    return protocols


def expand(words: Iterable[str]) -> list[str]:
    """Return full names for names, older names and groups, each once, in order.

    Raises:
        ValueError: If there is no such name. A family's name alone is answered with its variants.
    """
    names: dict[str, None] = {}
    for word in words:
        for name in GROUPS.get(word, (ALIASES.get(word, word),)):
            names.setdefault(name)
    return list(names)


def find(name: str) -> Pinned:
    """Return the protocol of a name.

    Raises:
        ValueError: If there is none. The message lists what may be meant.
    """
    name = ALIASES.get(name, name)
    if name in registry():
        return registry()[name]
    raise ValueError(unknown(name, registry()))


def unknown(name: str, names: Iterable[str]) -> str:
    """Return what is said of a name that nothing has: the variants of its family, or what is spelled nearly so."""
    known = list(names)
    family = name.partition("@")[0].lower()
    variants = [variant for variant in known if variant.partition("@")[0] == family]
    if variants and "@" in name:
        return f"There is no variant '{name}' of {family}. There are: {', '.join(variants)}."
    if variants:
        lines = "; ".join(
            f"{variant} ({registry()[variant].title})" if variant in registry() else variant for variant in variants
        )
        return f"{family} is a family of protocols; give a variant. There are: {lines}."
    if name.startswith("@"):
        return f"There is no group '{name}'. There are: {', '.join(GROUPS)}."
    likely = get_close_matches(name.lower(), [*known, *ALIASES], n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(likely)}?" if likely else ""
    return f"There is no protocol '{name}'.{meant} `foveal eval --list` shows all; groups are {', '.join(GROUPS)}."


def search(word: str = "") -> Sequence[Pinned]:
    """Return the protocols whose name, title, task or group holds a word, all without one."""
    wanted = word.lower()
    members = GROUPS.get(wanted, ())
    return [
        pinned
        for pinned in registry().values()
        if pinned.name in members or wanted in f"{pinned.name} {pinned.title} {pinned.task} {pinned.captioner}".lower()
    ]


def _pinned(path: Path, name: str, table: Mapping[str, Any]) -> Pinned:
    valid = {field.name for field in fields(Pinned)}
    wrong = sorted(set(table) - valid)
    if wrong:
        raise ValueError(f'{path.name}: "{name}" has no field {wrong[0]}. It has: {", ".join(sorted(valid))}.')
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        return Pinned(name=name, **values)
    except TypeError as error:
        raise ValueError(f'{path.name}: "{name}" is not whole: {error}.') from error
