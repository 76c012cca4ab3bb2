"""What no reader may do: lose a row. Rows in = samples + rows that joined one + broken + passed over, whatever is odd.

Each source is written with random damage by a few lines that know nothing of the readers; every text is said once in a
file, so that each undamaged one must come back exactly once, whatever lies around it.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pyarrow.parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.formats import Coco, CsvPairs, FineHard, Jsonl, JsonRows, Lvis, Parquet, ShareGpt4v
from foveal.types import Sample

BLANK = st.sampled_from([None, "", " ", [], ["", "\n"]])
ODD = st.sampled_from([3, 1.5, True, {"x": 1}, [3], [None], [["a"]], "\ud83d"])
IMAGE = st.sampled_from(["a.jpg", "./a.jpg", "b.png", "c d.jpeg", "x/e.webp"])
NO_IMAGE = st.sampled_from([None, "", " ", 3, {}, [], ["a.jpg", "b.jpg"], "http://x/a.jpg", "a\0.jpg"])
NO_BOX = st.sampled_from(
    [None, [], [1, 2, 3], [5, 5, 0, 5], [900, 0, 5, 5], [1, 2, 3, "x"], {"x": 1}, [0, 0, 1e999, 1]]
)
SETTINGS = settings(max_examples=60, deadline=None)


def read(records: Iterable) -> tuple[list[Sample], int]:
    """The samples of a source, and how many are broken."""
    samples, broken = [], 0
    for record in records:
        try:
            samples.append(record())
        except ValueError:
            broken += 1
    return samples, broken


def numbered(part) -> list:
    return [lambda number=number: part.sample(number) for number in range(len(part))]


def check(samples: list[Sample], texts: list[str], *, regions: bool = False) -> None:
    """Every text that is not damaged is there once, and every id."""
    said = Counter(caption for sample in samples for caption in (*sample.captions, sample.long_caption) if caption)
    if regions:
        said = Counter(region.phrase for sample in samples for region in sample.regions)
    assert said == Counter(texts)
    assert len({sample.id for sample in samples}) == len(samples)


# a row: its picture or none; None for a caption of its own, or what is odd beside it; an id; whether its text is long
ROWS = st.lists(
    st.tuples(IMAGE | NO_IMAGE, st.none() | BLANK | ODD, st.sampled_from([None, 7, "x", [1]]), st.integers(0, 2)),
    max_size=12,
)


def objects(rows) -> tuple[list[dict], list[str], int]:
    """Rows as objects, the texts that must come back, and how many rows have no picture."""
    made, texts, broken = [], [], 0
    for number, (image, odd, identity, long) in enumerate(rows):
        good = isinstance(image, str) and image.strip() and "://" not in image and "\0" not in image
        captions = [f"caption {number}"]
        if odd is not None:
            captions = [*captions, *odd] if isinstance(odd, list) else [*captions, odd]
        row = {"image": image, "caption": captions, "id": identity}
        broken += not good
        if good:
            texts.append(f"caption {number}")
        if long:
            row["long_caption"] = f"long {number}"
            texts += [f"long {number}"] if good else []
        made.append(row)
    return made, texts, broken


@SETTINGS
@given(ROWS, st.lists(st.sampled_from([b"", b"  ", b"{", b"[]", b"3", b"\xff\xfe", b'{"image": "a', b"null", b"\0\0"])))
def test_json_lines(rows, others):
    made, texts, broken = objects(rows)
    lines = [json.dumps(row).encode() for row in made]
    for place, line in enumerate(others):
        lines.insert(place * 3, line)
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_bytes(b'{"image": "first.jpg"}\n' + b"\n".join(lines))
        part = Jsonl(path)
        samples, lost = read(numbered(part))
        assert part.rows == 1 + sum(bool(line.strip()) for line in lines)
        assert lost == broken + sum(bool(line.strip()) for line in others)
        check(samples, texts)


@SETTINGS
@given(ROWS, st.lists(st.sampled_from([3, None, "x", [], {}, {"x": "y"}]), max_size=3))
def test_json_lists(rows, others):
    made, texts, broken = objects(rows)
    for place, item in enumerate(others):
        made.insert(place * 3, item)
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(json.dumps([{"image": "first.jpg"}, *made]))
        part = JsonRows(path)
        samples, lost = read(numbered(part))
        assert part.rows == 1 + len(made)
        assert lost == broken + len(others)
        check(samples, texts)


@SETTINGS
@given(ROWS)
def test_share_gpt4v(rows):
    items, texts, broken = [], [], 0
    for number, (image, odd, identity, _) in enumerate(rows):
        turns = [{"value": "?"}, {"value": f"long {number}"}][: 1 if odd == 3 else 2]
        items.append({"id": identity, "image": image, "conversations": turns})
        good = isinstance(image, str) and image.strip() and "://" not in image and "\0" not in image and odd != 3
        broken += not good
        texts += [f"long {number}"] if good else []
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(json.dumps([*items, {"image": "z.jpg", "conversations": [{}, {}]}]))
        part = ShareGpt4v(path)
        samples, lost = read(numbered(part))
        assert part.rows == len(items) + 1
        assert lost == broken
        check(samples, texts)


CELLS = st.lists(
    st.tuples(
        st.sampled_from(["a.jpg", "b.png", "c d.jpeg", ""]),
        st.sampled_from(["{}", 'a "{}"', '{} 5" x', "{} ", '{}\nline two, "quoted"', "{}; x | y, z\tw", "ünïcode {}"]),
        st.sampled_from(["", "", "", "open", "early", "more", "fewer", "bytes", "zero"]),
    ),
    max_size=10,
)


def damaged(image: str, number: int, damage: str, separator: str, *, picture_first: bool) -> tuple[bytes, str]:
    """A damaged row of a table, and its caption."""
    caption = {"open": f'"caption {number}', "early": f'"caption {number}" x'}.get(damage, f"caption {number}")
    cells = [image, caption] if picture_first else [caption, image]
    cells = {"more": [*cells, "3"], "fewer": cells[:1]}.get(damage, cells)
    byte = {"bytes": b"\xff", "zero": b"\0"}.get(damage, b"c")
    return separator.join(cells).encode().replace(b"c", byte), caption


@SETTINGS
@given(CELLS, st.sampled_from([",", "\t", ";", "|"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_tables(rows, separator, end, picture_first):
    content, texts, broken = StringIO(), [], 0
    writer = csv.writer(content, delimiter=separator, lineterminator=end)
    writer.writerow(["image", "text"] if picture_first else ["text", "image"])
    lines = [content.getvalue().encode()]
    for number, (image, pattern, damage) in enumerate(rows):
        caption, good = pattern.format(f"caption {number}"), bool(image)
        if damage:
            row, caption = damaged(image, number, damage, separator, picture_first=picture_first)
            lines.append((row or b"-") + end.encode())  # a line without anything is no row
            good = good and damage in ("open", "early") and separator in "\t|"  # tables that mostly know no quoting
        else:
            content.seek(content.truncate(0))
            writer.writerow([image, caption] if picture_first else [caption, image])
            lines.append(content.getvalue().encode())
        broken += not good
        texts += [caption] if good else []
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        path.write_bytes(b"".join(lines))
        part = CsvPairs(path)
        samples, lost = read(numbered(part))
        assert part.rows == len(rows)
        assert lost == broken
        check(samples, texts)


@SETTINGS
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, b"", b"one", b"two", b"three"]),
            st.sampled_from([[], [None], ["", "  "]]),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_parquet(rows, size):
    columns = {
        "image": [
            {"bytes": image, "path": "same.jpg"} if image else {"bytes": image, "path": None} for image, *_ in rows
        ],
        "text": [[*blank, f"caption {number}"] for number, (_, blank, _) in enumerate(rows)],
        "long_caption": [f"long {number}" if long else None for number, (*_, long) in enumerate(rows)],
    }
    image = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    schema = {"image": image, "text": pyarrow.list_(pyarrow.string()), "long_caption": pyarrow.string()}
    texts = [f"caption {number}" for number, (image, *_) in enumerate(rows) if image]
    texts += [f"long {number}" for number, (image, _, long) in enumerate(rows) if image and long]
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.parquet")
        table = pyarrow.Table.from_pydict(columns, schema=pyarrow.schema(schema))
        pyarrow.parquet.write_table(table, path, row_group_size=size)
        samples, lost = read(record for shard in Parquet(path).shards() for record in shard.records())
        assert lost == sum(not image for image, *_ in rows)
        check(samples, texts)


BOX = st.sampled_from([[5, 5, 10, 10], [-2, 0, 10, 10], [90, 90, 12, 12]])
IMAGES = st.sampled_from([1, 2, 3, "4"])


@SETTINGS
@given(
    st.lists(IMAGES | st.sampled_from([None, {}, 3.5]), max_size=6),
    st.lists(
        st.tuples(IMAGES | st.sampled_from([9, None, [1]]), BOX | NO_BOX, st.sampled_from([1, 1, 2, None])), max_size=12
    ),
    st.sampled_from([Coco, Lvis]),
)
def test_coco(numbers, boxes, kind):
    """Boxes in = regions + left out + passed over, and so for images and captions."""
    images = [{"id": one, "file_name": f"{one}.jpg", "width": 100, "height": 100} for one in numbers]
    images += [3, {"id": 8}, {"id": 1, "file_name": "other.jpg"}]
    categories = [{"id": 1, "name": "cup"}, {"id": 2, "name": " "}]
    drawn = [{"image_id": image, "bbox": box, "category_id": category} for image, box, category in boxes]
    said = [{"image_id": image, "caption": f"caption {number}"} for number, (image, *_) in enumerate(boxes)]
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(json.dumps({"images": images, "annotations": [*drawn, *said, 3], "categories": categories}))
        part = kind(path)
        samples, lost = read(numbered(part))
        assert part.rows == len(images)
        assert lost == 1 + (1 in numbers)
        known = {str(one) for one in numbers if isinstance(one, int | str)} | {"8", "1"}
        texts = [
            f"caption {n}"
            for n, (image, *_) in enumerate(boxes)
            if isinstance(image, int | str) and str(image) in known
        ]
        check(samples, texts)
        taken = sum(len(sample.regions) + len(sample.notes) for sample in samples)
        assert taken == len(texts)
        assert part.passed_over.total() == 2 * len(boxes) - taken - len(texts) + 2


@SETTINGS
@given(st.lists(st.tuples(IMAGE | NO_IMAGE, st.lists(BOX | NO_BOX | ODD, max_size=4)), max_size=6))
def test_fine_hard(rows):
    items, phrases, broken = [], [], 0
    for number, (image, boxes) in enumerate(rows):
        good = isinstance(image, str) and image.strip() and "://" not in image and "\0" not in image
        info = []
        for place, box in enumerate(boxes):
            sound = isinstance(box, list) and len(box) == 4 and box[0] in (5, -2, 90) and box[3] > 5
            corners = [0, 0, 0.5, 0.5] if sound else box
            info.append({"bbox": corners, "short_expr": f"phrase {number} {place}"} if place % 2 or sound else box)
            phrases += [f"phrase {number} {place}"] if good and sound else []
        broken += not good
        items.append({"id": number, "f_path": image, "caption": f"long {number}", "bbox_info": info})
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        path.write_text(json.dumps(items))
        samples, lost = read(FineHard(path).records())
        assert lost == broken
        assert len(samples) == len(items) - broken
        check(samples, phrases, regions=True)
        everything = sum(
            len(boxes) for number, (_, boxes) in enumerate(rows) if str(number) in {one.id for one in samples}
        )
        assert sum(len(sample.regions) + len(sample.notes) for sample in samples) == everything
