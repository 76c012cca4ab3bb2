"""What the command line says of protocols: the list, the card of one, a check of data, a pin for the registry."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .check import Checked, check, here
from .published import Published, published, rows_of
from .reading import Roots, folders, places
from .registry import GROUPS, Pinned, expand, find, search

_RULES = {
    "retrieval": "Cosine of unit vectors in float32. A query is right at k if a right answer is among the first k. "
    "Image to text: any of the image's own captions; text to image: every caption is a query.",
    "grouped-gallery": "As retrieval; the other images of the right one's group are not in the gallery.",
    "ranking": "Mean average precision at 50, divided by the number of right images or 50, whichever is less.",
    "choice": "Right if the true text scores above the false ones.",
    "two-positives": "Right if both true texts score above the false one.",
    "group-choice": "Text: each image picks its caption. Image: each caption picks its image. Group: both.",
    "regions": "Top-1: a box's phrase ties with or beats all its negatives. RoIAlign with one bin.",
    "box-classes": "Top-1 and top-5 of the box's class; a class is the mean of its prompts. RoIAlign with one bin. "
    "Boxes are cut at the border of the image.",
    "oracle-boxes": "AP at IoU 0.5 of true boxes, each with its five best classes, by faster-coco-eval. A "
    "box's score is the softmax of 50 times the cosine. RoIAlign with one bin.",
    "segmentation": "Mean over classes of intersection over union, of all pixels of the set. Similarities of "
    "dense features are upsampled and averaged over windows; a class is the mean of its prompts.",
    "classes": "Top-1 and top-5 of the image's class; a class is the mean of its prompts.",
    "ladder": "Per image the correlation of 1 to K with the similarities of K growing texts; the mean over images.",
    "yes-no": "Accuracy of an answer in words.",
    "detection": "Average precision of a detector.",
    "grounding": "Share of boxes with an IoU of 0.5 at least.",
}
_PLACES = (
    "  One place for annotations and one for images are enough. An image lies there under the name that its annotation",
    "  gives, with or without the folders in it; the endings .jpg, .jpeg, .png and .webp are alike.",
)
_TIES = {
    "half": "a tie counts as in a random order: half",
    "against": "a tie counts as wrong",
    "right": "a tie counts as right",
}


def listing(word: str, roots: Roots) -> str:
    """Return a line for each protocol that a word finds: name, task, size, and whether its data are here.

    Args:
        word: Part of a name, a title or a task; or a group.
        roots: The data folders.

    Raises:
        ValueError: If no protocol has the word.
    """
    chosen = search(word)
    if not chosen:
        raise ValueError(f"No protocol has '{word}' in its name, title or task. Leave the word out to see all.")
    lines = [["name", "task", "images", "rows", "here", "licence", "what it is"]]
    for pinned in chosen:
        state = here(pinned, roots) if pinned.runnable else "not run"
        counts = (f"{number:,}" if number else "unknown" for number in (pinned.images, pinned.rows))
        lines.append([pinned.name, pinned.task, *counts, state, _licence(pinned), pinned.title])
    groups = (f"{name}: {' '.join(members)}" for name, members in GROUPS.items())
    return "\n".join([*_columns(lines), "", *groups])


def card(pinned: Pinned, roots: Roots) -> str:
    """Return all that is known of a protocol: what is measured, files, rules, pitfalls, published numbers.

    Args:
        pinned: The protocol.
        roots: The data folders; the card says which files of which layout are there.
    """
    parts = [
        f"{pinned.name}: {pinned.title}",
        _measured(pinned),
        _files(pinned, roots),
        _listed("How to get them:", pinned.get),
        rules(pinned),
        _listed("Pitfalls:", (*pinned.pitfalls, *pinned.flags)),
        f"Licence: {pinned.licence or 'not stated'}. Paper: {pinned.cite or 'not stated'}.",
        _published(pinned),
    ]
    return "\n\n".join(part for part in parts if part)


def outcome(checked: Checked) -> str:
    """Return what a check of data shows, a line each."""
    pinned = checked.pinned
    state = {
        "ok": "ok",
        "counts only": f"not pinned yet; {_counted(pinned)}",
        "unchecked": "not pinned yet; how many rows and images there should be is unknown",
        "differs": f"differs from the pinned {checked.wanted[:8]}" if checked.wanted else "differs",
    }[checked.verdict]
    lines = [
        f"{pinned.name}: data {checked.sha256[:8]} {state}",
        f"read: {checked.data.path} ({checked.data.layout})",
        f"{checked.present:,} of {checked.images:,} images are there, {checked.rows:,} rows",
    ]
    if checked.missing:
        lines.append(f"missing, for example: {checked.missing}")
    return "\n  ".join([*lines, *checked.differences(), *checked.data.notes])


def _counted(pinned: Pinned) -> str:
    """Which numbers were compared."""
    stated = [what for number, what in ((pinned.rows, "rows"), (pinned.images, "images")) if number]
    return f"numbers of {' and '.join(stated)} fit"


def pin(checked: Checked) -> str:
    """Return the lines of a table that pin the data at hand, for the registry."""
    field = "data_by_position" if checked.data.by_position else "data"
    lines = [
        f'["{checked.pinned.name}"]',
        f"images = {checked.images}",
        f"rows = {checked.rows}",
        f'{field} = "{checked.sha256}"',
    ]
    return "\n".join([*lines, *([f'labels = "{checked.labels}"'] if checked.labels else [])])


def checks(names: Iterable[str], roots: Roots) -> tuple[str, bool]:
    """Check protocols one after another.

    Returns:
        A paragraph each, and whether all data are theirs.
    """
    checked = [check(find(name), roots) for name in expand(names)]
    return "\n".join(map(outcome, checked)), all(data.verdict != "differs" for data in checked)


def cards(names: Iterable[str], roots: Roots) -> str:
    """Return the cards of protocols."""
    return "\n\n\n".join(card(find(name), roots) for name in expand(names))


def pins(names: Iterable[str], roots: Roots) -> str:
    """Return the pins of protocols."""
    return "\n\n".join(pin(check(find(name), roots)) for name in expand(names))


def listed(words: Sequence[str], folders: Sequence[Path]) -> str:
    """Return the list for any number of words."""
    roots = Roots(tuple(folders))
    return "\n\n".join(listing(word, roots) for word in words or [""])


def _measured(pinned: Pinned) -> str:
    counts = ((pinned.images, "images"), (pinned.rows, "rows"))
    sizes = ", ".join(f"{number:,} {what}" if number else f"number of {what} unknown" for number, what in counts)
    pinned_as = f"Data {pinned.data}." if pinned.data else "Data not pinned yet: counts alone are compared."
    labels = f" Classes and prompts {pinned.labels}." if pinned.labels else ""
    why = "" if pinned.runnable else f"\nNot run here: {pinned.why_not}."
    return f"Measured: {pinned.task}, texts as {pinned.kind}. {sizes}. {pinned_as}{labels}{why}"


def _files(pinned: Pinned, roots: Roots) -> str:
    from .readers import READERS

    lines = ["Files, below the folder of --root; the first layout that is there is read:", *_PLACES]
    for layout in READERS.get(pinned.reader, ()):
        lines.append(f"  {layout.name}:")
        for what, names in (("annotations", places(layout, pinned)), ("images", folders(layout, pinned))):
            for name in names:
                found = roots.find(name)
                lines.append(f"    {what:<11} {name:<60} {f'here: {found}' if found else 'not here'}".rstrip())
        if layout.example:
            lines.append(f"    looks like  {layout.example}")
    members = pinned.options.get("files") or pinned.options.get("sets")
    if members:
        lines.append(f"  The folder of annotations holds all of {', '.join(members)}.")
    return "\n".join(lines) if len(lines) > 1 + len(_PLACES) else ""


def rules(pinned: Pinned) -> str:
    """Return by which rules a protocol is scored, and what is done to its texts."""
    rule = f"Rules, version {pinned.rules}: {_RULES[pinned.task]}"
    if pinned.task in ("retrieval", "grouped-gallery"):
        own = "with its own image alone" if pinned.equal_texts == "own" else "with every image of an equal text"
        rule += f" A text is right {own}."
    text = {
        "raw": "Texts are taken as they are in the file.",
        "stripped": "Texts lose the blanks at their ends.",
        "rejoined": "Texts are cut at line ends and full stops and joined by '. '.",
    }
    return f"{rule} In scoring, {_TIES[pinned.ties]}. {text[pinned.text]}"


def _published(pinned: Pinned) -> str:
    rows = rows_of(pinned.name)
    others = [row for row in published() if row not in rows and row.nearest.partition("@")[0] == pinned.family]
    parts = []
    if rows:
        parts.append(_table("Published on this protocol (quoted numbers are marked; training sets differ):", rows))
    elsewhere = sorted({row.protocol for row in others})
    if elsewhere:
        parts.append(f"Not comparable, other data or not stated: {', '.join(elsewhere)}.")
    return "\n\n".join(parts)


def _table(title: str, rows: Sequence[Published]) -> str:
    """A line per model and source, with all its numbers."""
    together: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        by = row.measured_by + ("" if row.primary else ", secondary") + (f"; {row.note}" if row.note else "")
        together.setdefault((row.model, row.resolution, row.source, by), []).append(
            f"{_short(row.metric)} {row.value:g}"
        )
    lines = [
        [model, size, " ".join(numbers), f"{source} ({by})"] for (model, size, source, by), numbers in together.items()
    ]
    return "\n".join([title, *(f"  {line}" for line in _columns([["model", "pixels", "numbers", "source"], *lines]))])


def _short(metric: str) -> str:
    return metric.replace("image_to_text", "I2T").replace("text_to_image", "T2I")


def _licence(pinned: Pinned) -> str:
    """A word for the whole licence: the strictest part of it."""
    if re.search(r"\b(research|agreement|form|NC|commerce|own licence)\b", pinned.licence):
        return "restricted"
    return "open" if re.search(r"\b(MIT|CC BY|Apache)\b", pinned.licence) else "not stated"


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""


def _columns(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
