"""Hits for other programs and other people: JSON, CSV, and contact sheets as PNG or HTML."""

import base64
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from html import escape
from io import BytesIO, StringIO
from pathlib import Path

from PIL import Image, ImageDraw

from ..outside import printable
from ..types import Hit
from ..writing import replacing

CELL, MARGIN, LINE = 256, 8, 16  # pixels of a contact sheet
COLORS = ("#ff3b30", "#0a84ff", "#34c759", "#ff9f0a", "#bf5af2", "#64d2ff", "#ffd60a", "#ff375f")
STYLE = """body{font:14px system-ui,sans-serif;margin:24px;background:#fff;color:#111}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:16px}
figure{margin:0}div{position:relative;line-height:0}img{width:100%}
i{position:absolute;border:2px solid;box-sizing:border-box}figcaption{overflow-wrap:anywhere}b{font-weight:600}"""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what begins a formula in a spreadsheet

Thumbnail = Callable[[str], bytes]


def write_hits(hits: Sequence[Hit], path: Path, title: str, thumbnail: Thumbnail) -> None:
    """Write hits to a file, in the form that its ending names.

    Args:
        hits: In order.
        path: Ends in .json, .csv, .html or .png.
        title: What was searched for.
        thumbnail: Gives the small JPEG of an id, as `Searcher.thumbnail` does.

    Raises:
        ValueError: If the ending is another.
    """
    writers: dict[str, Callable[[], bytes]] = {
        ".json": lambda: as_json(hits).encode(),
        ".csv": lambda: as_csv(hits).encode(),
        ".html": lambda: contact_page(hits, title, thumbnail).encode(),
        ".png": lambda: contact_sheet(hits, thumbnail),
    }
    if path.suffix.lower() not in writers:
        raise ValueError(f"Hits cannot be written to '{path}'. Its name has to end in {', '.join(writers)}.")
    content = writers[path.suffix.lower()]()
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def as_json(hits: Sequence[Hit]) -> str:
    """Return a JSON list with one object per hit."""
    rows = [{**asdict(hit), "similarities": dict(hit.similarities)} for hit in hits]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def as_csv(hits: Sequence[Hit]) -> str:
    """Return one line per hit, best first: rank, path, score, confidence, and each phrase with its box.

    What a spreadsheet would take for a formula has an apostrophe before it, or "./" if it is a path.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "id", "path", "score", "confidence", "width", "height", "caption", "boxes"])
    for rank, hit in enumerate(hits, start=1):
        boxes = "; ".join(
            f"{phrase_box.phrase}: {' '.join(f'{edge:.3f}' for edge in phrase_box.box)}" for phrase_box in hit.boxes
        )
        path = f"./{hit.path}" if hit.path.startswith(_FORMULA) else hit.path
        fields = [
            hit.id,
            path,
            f"{hit.score:.4f}",
            f"{hit.confidence:.4f}",
            hit.width,
            hit.height,
            _no_formula(hit.caption),
        ]
        writer.writerow([rank, *fields, _no_formula(boxes)])
    return text.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def contact_sheet(hits: Sequence[Hit], thumbnail: Thumbnail, columns: int = 5) -> bytes:
    """Return a PNG with the hits in rows, each with its boxes, rank, score and name.

    Args:
        hits: In order.
        thumbnail: Gives the small JPEG of an id.
        columns: Pictures in a row.
    """
    columns = max(1, min(columns, len(hits)))
    rows = max(1, -(-len(hits) // columns))
    width, height = CELL + MARGIN, CELL + 2 * LINE + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, hit in enumerate(hits):
        left, top = MARGIN + number % columns * width, MARGIN + number // columns * height
        with Image.open(BytesIO(thumbnail(hit.id))) as picture:
            small = picture.convert("RGB")
        small.thumbnail((CELL, CELL))
        for phrase_box, color in zip(hit.boxes, COLORS, strict=False):
            edges = [edge * side for edge, side in zip(phrase_box.box, small.size * 2, strict=True)]
            ImageDraw.Draw(small).rectangle([round(edge) for edge in edges], outline=color, width=2)
        sheet.paste(small, (left, top))
        name = hit.path if len(hit.path) <= 38 else "..." + hit.path[-35:]
        draw.text((left, top + CELL), f"{number + 1}. {hit.score:.1f}  ({hit.confidence:.0%})", fill="black")
        draw.text((left, top + CELL + LINE), name.encode("ascii", "replace").decode(), fill="black")
    content = BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def contact_page(hits: Sequence[Hit], title: str, thumbnail: Thumbnail) -> str:
    """Return an HTML page with the hits, their boxes and phrases. Pictures are inside: it needs no other file."""
    figures = []
    for rank, hit in enumerate(hits, start=1):
        data = base64.b64encode(thumbnail(hit.id)).decode()
        boxes, names = [], []
        for phrase_box, color in zip(hit.boxes, COLORS, strict=False):
            x0, y0, x1, y1 = (100 * edge for edge in phrase_box.box)
            place = f"left:{x0:.1f}%;top:{y0:.1f}%;width:{x1 - x0:.1f}%;height:{y1 - y0:.1f}%"
            boxes.append(f'<i style="{place};color:{color}" title="{escape(phrase_box.phrase)}"></i>')
            names.append(f'<span style="color:{color}">{escape(phrase_box.phrase)}</span>')
        figures.append(
            f'<figure><div><img alt="" src="data:image/jpeg;base64,{data}">{"".join(boxes)}</div>'
            f"<figcaption><b>{rank}. {escape(hit.path)}</b><br>score {hit.score:.2f}, confidence {hit.confidence:.0%}"
            f"<br>{' · '.join(names)}</figcaption></figure>"
        )
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html><html lang="en">{head}<style>{STYLE}</style><h1>{escape(title)}</h1>'
        f"<main>{''.join(figures)}</main></html>\n"
    )


def numbered(path: Path, number: int, total: int) -> Path:
    """Return the file for the hits of one of several queries: "hits.json" itself, or "hits-001.json" and so on."""
    return path if total == 1 else path.with_stem(f"{path.stem}-{number + 1:03d}")


def as_lines(hits: Sequence[Hit], title: str = "") -> str:
    """Return hits as lines for a terminal. A last line says so where the best is likely to be an accident.

    Args:
        hits: In order.
        title: Stands above them, if there is one.
    """
    if not hits:
        return "No picture passes the filter."
    lines = [*([f"\n{printable(title)}"] if title else []), f"{'':>3}  score  sure  picture"]
    for rank, hit in enumerate(hits, start=1):
        lines.append(f"{rank:>3}  {hit.score:5.2f}  {hit.confidence:4.0%}  {printable(hit.path)}")
        lines += [
            f"{'':18} {printable(phrase_box.phrase)}: {', '.join(f'{edge:.2f}' for edge in phrase_box.box)}"
            for phrase_box in hit.boxes
            if phrase_box.phrase
        ]
    if hits[0].confidence < 0.5:
        lines.append("Nothing stands out: the best of these may be there by accident.")
    return "\n".join(lines)
