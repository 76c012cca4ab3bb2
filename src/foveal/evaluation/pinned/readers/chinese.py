"""Chinese sets of FG-CLIP 2, and COCO-CN."""

from collections.abc import Iterator
from pathlib import Path

from ..canonical import Captions
from ..reading import Layout, Options
from .pairs import tab_separated


def coco_cn(path: Path, options: Options) -> Iterator[Captions]:
    """Yield the rows of lines `COCO_val2014_000000000007#zhm#3 text`, of one kind of text, in numbered order."""
    mark = options.get("mark", "zhm")
    numbered: dict[str, list[tuple[int, str]]] = {}
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            key, _, caption = line.rstrip("\r\n").partition("\t" if "\t" in line else " ")
            parts = key.split("#")
            if line.strip() and (len(parts) != 3 or not parts[2].isdigit()):
                raise ValueError(f"{path}:{number}: not an image, a mark, a number and a text. It is another file.")
            if line.strip() and parts[1] == mark:
                numbered.setdefault(parts[0], []).append((int(parts[2]), caption))
    for image, captions in numbered.items():
        yield Captions(f"{image}.jpg", tuple(caption for _, caption in sorted(captions, key=lambda pair: pair[0])))


def _lines(family: str) -> tuple[Layout, ...]:
    return (
        Layout(
            "as downloaded",
            (f"{family}/image_caption_long_cn.txt", f"{family}/image_caption_trans.txt", f"{family}/captions.txt"),
            tab_separated,
            (f"{family}/images", family),
            "path/of/image.jpg<TAB>中文长描述",
        ),
    )


LIT, DCI, DOCCI = _lines("lit-cn"), _lines("dci-cn"), _lines("docci-cn")
COCO = (
    Layout(
        "FG-CLIP's",
        ("coco-cn/pair.txt", "coco-cn/coco-cn_test.txt"),
        coco_cn,
        ("coco-cn/images", "coco/val2014", "coco/train2014", "coco/images"),
        "COCO_val2014_000000391895#zhm#3 一辆...",
    ),
)
