"""Detections for other programs and other eyes: COCO's results, a table, a drawn picture."""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..data.images import open_upright
from ..outside import printable
from ..types import Detections

COLORS = ("#ff3b30", "#0a84ff", "#34c759", "#ff9f0a", "#bf5af2", "#64d2ff", "#ffd60a", "#ff375f")
LONGEST_SIDE = 1280  # pixels of a drawn picture


def as_results(paths: Sequence[Path], detections: Sequence[Detections]) -> str:
    """Return COCO's results format (https://cocodataset.org/#format-results), with names beside the numbers.

    Args:
        paths: Of the pictures. A file named by a number, as COCO's are, has that as its id; others are counted from 1.
        detections: Of each picture.
    """
    ids = _ids(paths)
    rows = [
        {
            "image_id": ids[number],
            "category_id": label + 1,
            "bbox": _pixels(box, boxes),
            "score": round(score, 5),
            "file_name": path.name,
            "category": boxes.names[label],
        }
        for number, (path, boxes) in enumerate(zip(paths, detections, strict=True))
        for box, score, label in _rows(boxes)
    ]
    return "[" + ",\n ".join(json.dumps(row, ensure_ascii=False) for row in rows) + "]\n"


def as_table(paths: Sequence[Path], detections: Sequence[Detections]) -> str:
    """Return a line for every box: picture, name, score, and x, y, width, height in pixels."""
    lines = []
    for path, boxes in zip(paths, detections, strict=True):
        lines += [
            f"{printable(path.name)}  {printable(boxes.names[label])}  {score:.3f}  "
            + " ".join(f"{end:.0f}" for end in _pixels(box, boxes))
            for box, score, label in _rows(boxes)
        ] or [f"{printable(path.name)}  nothing above the threshold"]
    return "\n".join(lines)


def draw(picture: Path | bytes | Image.Image, boxes: Detections) -> Image.Image:
    """Return the picture with its boxes, names and scores drawn on it, the surest on top."""
    canvas = picture.convert("RGB") if isinstance(picture, Image.Image) else open_upright(picture, LONGEST_SIDE)[0]
    canvas = canvas.copy()
    pen = ImageDraw.Draw(canvas)
    line = max(2, max(canvas.size) // 300)
    font = ImageFont.load_default(size=max(11, max(canvas.size) // 48))
    for box, score, label in reversed(list(_rows(boxes))):
        color = COLORS[label % len(COLORS)]
        x0, y0, x1, y1 = (end * side for end, side in zip(box, canvas.size * 2, strict=True))
        pen.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=color, width=line)
        text = f"{boxes.names[label]} {score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        place = (min(x0, max(0.0, canvas.width - (right - left) - 2 * line)), max(0.0, y0 - (bottom - top) - 3 * line))
        pen.rectangle((*place, place[0] + right - left + 2 * line, place[1] + bottom - top + 3 * line), fill=color)
        pen.text((place[0] + line - left, place[1] + line - top), text, fill="white", font=font)
    return canvas


def _rows(boxes: Detections) -> list[tuple[list[float], float, int]]:
    return list(zip(boxes.boxes.tolist(), boxes.score.tolist(), boxes.label.tolist(), strict=True))


def _pixels(box: Sequence[float], boxes: Detections) -> list[float]:
    """Return x, y, width, height in pixels."""
    x0, y0, x1, y1 = box
    values = (x0 * boxes.width, y0 * boxes.height, (x1 - x0) * boxes.width, (y1 - y0) * boxes.height)
    return [round(value, 2) for value in values]


def _ids(paths: Sequence[Path]) -> list[int]:
    if all(path.stem.isdecimal() for path in paths) and len({int(path.stem) for path in paths}) == len(paths):
        return [int(path.stem) for path in paths]
    return list(range(1, len(paths) + 1))
