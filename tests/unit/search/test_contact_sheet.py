import csv
import json
from io import BytesIO, StringIO

import pytest
from PIL import Image

from foveal.search.contact_sheet import as_csv, as_json, as_lines, contact_page, contact_sheet, numbered, write_hits
from foveal.types import Hit, PhraseBox

BOXES = (PhraseBox("a <cat>", (0.25, 0.5, 0.75, 1.0), 0.3), PhraseBox("a dog", (0.0, 0.0, 0.5, 0.5), 0.2))
HITS = [
    Hit("a1", "one, two.jpg", 3.25, 0.99, BOXES, 640, 480, 'He said "hi"', (("global", 0.31),)),
    Hit("b2", "schöne/ferien.jpg", 0.5, 0.0),
]


@pytest.fixture
def thumbnail(jpeg):
    return lambda own: jpeg(1, (128, 96))


def test_json_holds_every_field():
    rows = json.loads(as_json(HITS))
    assert rows[0]["boxes"][0] == {"phrase": "a <cat>", "box": [0.25, 0.5, 0.75, 1.0], "similarity": 0.3}
    assert rows[0]["similarities"] == {"global": 0.31}
    assert [row["path"] for row in rows] == ["one, two.jpg", "schöne/ferien.jpg"]


def test_csv_is_read_back():
    rows = list(csv.DictReader(StringIO(as_csv(HITS))))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert rows[0]["path"] == "one, two.jpg"
    assert rows[0]["caption"] == 'He said "hi"'
    assert rows[0]["boxes"] == "a <cat>: 0.250 0.500 0.750 1.000; a dog: 0.000 0.000 0.500 0.500"


def test_a_contact_sheet_shows_pictures_and_boxes(thumbnail):
    with Image.open(BytesIO(contact_sheet(HITS * 4, thumbnail))) as sheet:
        assert sheet.size[0] > 5 * 256
        colors = {color for _, color in sheet.convert("RGB").getcolors(10**7)}
    assert (255, 59, 48) in colors  # the first phrase's
    assert contact_sheet([], thumbnail)[:4] == b"\x89PNG"


def test_a_contact_page_needs_no_other_file_and_escapes_texts(thumbnail):
    page = contact_page(HITS, "<script>", thumbnail)
    assert "<script>" not in page
    assert "a &lt;cat&gt;" in page
    assert "left:25.0%;top:50.0%;width:50.0%;height:50.0%" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "http" not in page


def test_lines_say_when_nothing_stands_out():
    assert "by accident" not in as_lines(HITS)
    assert as_lines(HITS[1:]).endswith("Nothing stands out: the best of these may be there by accident.")
    assert "0.25, 0.50, 0.75, 1.00" in as_lines(HITS)
    assert as_lines([]) == "No picture passes the filter."


@pytest.mark.parametrize("ending", ["json", "csv", "html", "png"])
def test_the_ending_chooses_the_form(tmp_path, thumbnail, ending):
    write_hits(HITS, tmp_path / f"hits.{ending}", "cats", thumbnail)
    assert (tmp_path / f"hits.{ending}").stat().st_size > 100
    with pytest.raises(ValueError, match=r"'.*hits.txt'. Its name has to end in .json, .csv, .html, .png"):
        write_hits(HITS, tmp_path / "hits.txt", "cats", thumbnail)


def test_files_of_several_queries_are_numbered(tmp_path):
    assert numbered(tmp_path / "a.json", 0, 1) == tmp_path / "a.json"
    assert numbered(tmp_path / "a.json", 1, 3) == tmp_path / "a-002.json"
