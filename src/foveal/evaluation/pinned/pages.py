"""The pages of `docs/protocols/`, a family each: `python -m foveal.evaluation.pinned.pages docs/protocols`."""

import sys
from collections.abc import Iterable
from pathlib import Path

from .cards import rules
from .published import Published, published, rows_of
from .readers import READERS
from .reading import folders, places
from .registry import Pinned, registry

_NOTE = (
    "This page is made from the registry. Change the tables in `src/foveal/evaluation/pinned/tables/`, not the page."
)


def page(family: str) -> str:
    """Return the page of a family in Markdown: what is measured, files, rules, pitfalls, published numbers.

    Args:
        family: Of protocols.
    """
    variants = [pinned for pinned in registry().values() if pinned.family == family]
    parts = [f"# {family}", _NOTE, _overview(variants)]
    for pinned in variants:
        parts += [f"## {pinned.name}", *_sections(pinned)]
    elsewhere = sorted(
        {row.protocol for row in published() if row.nearest.partition("@")[0] == family} - set(registry())
    )
    if elsewhere:
        parts.append(f"Published numbers that belong to no protocol here: {', '.join(elsewhere)}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def hashes() -> str:
    """Return the page of all pinned hashes in Markdown, and which of them tests take anew from the files."""
    rows = [row for pinned in registry().values() for row in _hashes(pinned)]
    tested = sum(why == "" for *_, why in rows)
    lines = ["| protocol | of what | sha256 | taken anew by a test |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {subject} | `{sha256[:16]}` | {f'no: {why}' if why else 'yes'} |"
        for name, subject, sha256, why in rows
    ]
    text = (
        f"{len(rows)} hashes are pinned. Tests take {tested} of them anew from the files. Those of the others are not"
        " kept here: their hashes rest on whoever made them, and on everybody's `foveal eval --check`."
    )
    return "\n\n".join(["# Hashes", _NOTE, text, "\n".join(lines)]) + "\n"


def write(folder: Path) -> list[Path]:
    """Write the pages of all families and of the hashes, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {family: page(family) for family in dict.fromkeys(pinned.family for pinned in registry().values())}
    files = []
    for name, text in {**pages, "hashes": hashes()}.items():
        files.append(folder / f"{name}.md")
        files[-1].write_text(text, encoding="utf-8")
    return files


def _hashes(pinned: Pinned) -> Iterable[tuple[str, str, str, str]]:
    """A protocol's hashes: name, of what, sha256, and why no test takes it anew."""
    if pinned.data:
        yield pinned.name, "data", pinned.data, pinned.unseen
    for kind, sha256 in pinned.parts.items():
        yield pinned.name, kind, sha256, ""
    if pinned.labels:
        yield pinned.name, "classes and prompts", pinned.labels, ""
    for sha256, why in pinned.also.items():
        yield pinned.name, f"known copy: {why}", sha256, pinned.unseen


def _overview(variants: Iterable[Pinned]) -> str:
    lines = ["| name | what it is | images | rows | data |", "|---|---|---|---|---|"]
    for pinned in variants:
        counts = " | ".join(f"{number:,}" if number else "unknown" for number in (pinned.images, pinned.rows))
        data = f"`{pinned.data[:8]}`" if pinned.data else "not pinned yet" if pinned.runnable else "not run here"
        lines.append(f"| `{pinned.name}` | {pinned.title} | {counts} | {data} |")
    return "\n".join(lines)


def _sections(pinned: Pinned) -> list[str]:
    sections = [rules(pinned) if pinned.runnable else f"Not run here: {pinned.why_not}."]
    sections.append(_files(pinned))
    if pinned.get:
        sections.append("How to get the files:\n\n" + _bullets(pinned.get))
    if pinned.pitfalls or pinned.flags:
        sections.append("Pitfalls:\n\n" + _bullets((*pinned.pitfalls, *pinned.flags)))
    if pinned.licence or pinned.cite:
        sections.append(f"Licence: {pinned.licence or 'not stated'}. Paper: {pinned.cite or 'not stated'}.")
    sections.append(_published(rows_of(pinned.name)))
    return sections


def _files(pinned: Pinned) -> str:
    lines = []
    for layout in READERS.get(pinned.reader, ()):
        where = " or ".join(f"`{name}`" for name in places(layout, pinned))
        images = " or ".join(f"`{name}/`" for name in folders(layout, pinned))
        lines.append(f"- {layout.name}: {where}" + (f"; images in {images}" if images else ""))
        if layout.example:
            lines.append(f"  - `{layout.example}`")
    return (
        "Files, below the folder of `--root`; the first layout that is there is read:\n\n" + "\n".join(lines)
        if lines
        else ""
    )


def _published(rows: Iterable[Published]) -> str:
    together: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        source = f"{row.source} ({row.measured_by}{f'; {row.note}' if row.note else ''})"
        together.setdefault((row.model, row.resolution, source), []).append(f"{row.metric} {row.value:g}")
    if not together:
        return ""
    lines = ["| model | pixels | numbers | source |", "|---|---|---|---|"]
    lines += [
        f"| {model} | {size} | {', '.join(numbers)} | {source} |" for (model, size, source), numbers in together.items()
    ]
    return "Published:\n\n" + "\n".join(lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
