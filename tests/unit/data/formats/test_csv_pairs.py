import json

import pytest

from foveal.data.formats import CsvPairs
from foveal.data.formats.fields import Columns
from foveal.types import Sample


def table(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return CsvPairs(path)


def pairs(part):
    return [(sample.image.name, *sample.captions) for sample in part]


def test_rows_may_span_lines_and_columns_have_any_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffInhalt,Ort,x\r\n"a\n""b""",1.jpg,\r\n\r\nc,sub/2.jpg,4'.encode())
    assert list(CsvPairs(path, Columns(image="ort", caption="Inhalt"))) == [
        Sample("1.jpg", tmp_path / "1.jpg", ('a\n"b"',)),
        Sample("sub/2.jpg", tmp_path / "sub" / "2.jpg", ("c",)),
    ]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("header", ["filepath,title", "image,caption", "Text,Image Path", "FILE_NAME,alt-text,width"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_and_columns_are_known_from_the_header(tmp_path, separator, header, end):
    names = header.split(",")
    image = next(place for place, name in enumerate(names) if name.lower()[0] in "fi")
    cells = ["3"] * len(names)
    rows = []
    for number in range(2):
        cells[image], cells[1 - image] = (
            f"a b/{number}.jpg",
            f"a photo, {number}; or | so" if separator == "\t" else "x",
        )
        rows.append(separator.join(cells))
    part = table(tmp_path / "a.csv", end.join([separator.join(names), *rows]) + end)
    assert pairs(part) == [(f"{number}.jpg", cells[1 - image].replace("1;", f"{number};")) for number in range(2)]


def test_bars_with_spaces_are_read_as_flickr30k_has_them(tmp_path):
    text = "image_name| comment_number| comment\n1.jpg| 0| Two men .\n1.jpg| 1   A dog .\n1.jpg| 2| "
    part = table(tmp_path / "results.csv", text + 'The "man" sits .\n2.jpg| 0| "A" b .\n')
    assert len(part) == 3
    assert part.rows == 4
    assert part.sample(0).captions == ("Two men .", 'The "man" sits .')
    with pytest.raises(ValueError, match=r"results\.csv:3: not a sample: 2 cells for 3 columns"):
        part.sample(1)
    assert part.sample(2).captions == ('"A" b .',)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a", "1 cells for 2"),
        ("a,b,c", "3 cells for 2"),
        (",b", "'path' is empty"),
        ("a,\xff", "decode.*save the table as UTF-8"),
        ('a,"b"c', "quotation mark"),
        ('a,"b', "quotation mark"),
        ("a,b\0", "zero byte"),
    ],
)
def test_a_broken_row_is_named_and_the_others_still_read(tmp_path, row, message):
    path = tmp_path / "a.csv"
    path.write_bytes(b"path,caption\nok.jpg,fine\n" + row.encode("latin-1") + b"\nlast.jpg,fine\n")
    part = CsvPairs(path)
    assert [len(part), part.rows] == [3, 3]
    with pytest.raises(ValueError, match=rf"a\.csv:3: .*{message}"):
        part.sample(1)
    assert [part.sample(0).id, part.sample(2).id] == ["ok.jpg", "last.jpg"]


CAPTIONS = [
    'a 5" cake',
    '"open the door',
    '"hello" he said',
    "a cat",
    '"a" and "b"',
    'ends "so"',
    '"quoted"',
    '"',
    '""',
]


def test_quotation_marks_in_a_table_without_quoting_swallow_nothing(tmp_path):
    """Conceptual Captions comes so. A mark without an end drew all further rows into its own."""
    rows = "".join(f"{number}.jpg\t{caption}\n" for number, caption in enumerate(CAPTIONS))
    expected = [caption.strip('"') if caption in ('"quoted"', '""') else caption for caption in CAPTIONS]
    assert pairs(table(tmp_path / "cc.tsv", "path\tcaption\n" + rows)) == [
        (f"{number}.jpg", *([caption] if caption else [])) for number, caption in enumerate(expected)
    ]


def test_an_open_quotation_mark_costs_one_row_of_a_csv(tmp_path):
    rows = "".join(f"{number}.jpg,{caption}\n" for number, caption in enumerate(CAPTIONS))
    part = table(tmp_path / "cc.csv", "path,caption\n" + rows)
    broken = []
    for number in range(len(part)):
        try:
            part.sample(number)
        except ValueError:
            broken.append(number)
    assert len(part) == part.rows == len(CAPTIONS)
    assert broken == [1, 2, 4, 7]


def test_many_captions_of_a_picture_are_one_sample(tmp_path):
    rows = "".join(f"{'./' * (turn % 2)}{n}.jpg,caption {turn} of {n}\n" for turn in range(5) for n in range(3))
    wide = "image,caption_10,caption_2,caption_1\n0.jpg,c,b,a\n"
    cell = 'image,raw\n0.jpg,"' + json.dumps(["a", "b"]).replace('"', '""') + '"\n'
    part = table(tmp_path / "a.csv", "image,caption\n" + rows)
    assert [sample.captions for sample in part] == [tuple(f"caption {t} of {n}" for t in range(5)) for n in range(3)]
    assert [len(part), part.rows] == [3, 15]
    assert pairs(table(tmp_path / "b.csv", wide)) == [("0.jpg", "a", "b", "c")]
    assert pairs(table(tmp_path / "c.csv", cell)) == [("0.jpg", "a", "b")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,text\n1,2\n", r"no column 'snapshot'\. There are: path, text\. Give another --image-column"),
        ("path,text\n1,2\n".encode("utf-16"), "UTF-16.*iconv"),
        ("path,text\n1,2\n".encode("utf-16-le"), "UTF-16.*iconv"),
        (b"path,text\r1,2\r3,4\r", "old Macs"),
        (b"pfad\xff,text\n1,2\n", "header is not UTF-8"),
        (b"\n \n", "is empty"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.csv.*{message}[^\n]*$"):
        list(CsvPairs(tmp_path / "a.csv", Columns(image="snapshot")))


def test_unknown_columns_are_named_with_the_option_to_give(tmp_path, caplog):
    with pytest.raises(
        ValueError, match=r"no column is known to hold images\. There are: a, b\. Name it: --image-column"
    ):
        list(table(tmp_path / "a.csv", "a,b\n1,2\n"))
    assert pairs(table(tmp_path / "b.csv", "image,words\n1.jpg,2\n")) == [("1.jpg",)]
    assert "no column is known to hold captions. There are: image, words. Name it: --caption-column" in caplog.text
