import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from foveal.annotation.assistant.answers import Spend
from foveal.annotation.run.report import SAMPLES_PER_REASON, SAMPLES_SHOWN, Gallery, write_report
from foveal.annotation.run.tally import Tally
from foveal.annotation.stage import WHOLE
from foveal.data.formats.rows import row_from_sample
from foveal.types import Negative, Region, Sample

NEAR = (Negative("a <blue> cup", "color"), Negative("a red dish", "object"))


REGIONS = (Region((0.1, 0.2, 0.5, 0.75), "a <red> cup", NEAR), Region(WHOLE, "a table"))


@pytest.fixture
def entries(picture):
    """Thirty samples: every third dropped, one failed."""
    made = []
    for number in range(30):
        sample = Sample(f"s{number}", picture(number), ("a cup & more",), "one two three four", REGIONS)
        entry = {"number": number, "passed": [[0, 0, {}], [2, 2, {"too small": 1}]], "row": row_from_sample(sample)}
        if number % 3 == 0:
            entry |= {"passed": entry["passed"][:1], "dropped": "ground", "reason": "no phrase found"}
            entry["remarks"] = {"too small": 2}
        if number == 29:
            entry |= {"passed": [], "failed": "read", "reason": "picture: broken", "remarks": {}}
        made.append((entry, sample))
    return made


@pytest.fixture
def counted(entries):
    tally, gallery = Tally(("ground",)), Gallery()
    for entry, sample in entries:
        tally.add(json.loads(json.dumps(entry)))
        gallery.offer(entry, lambda sample=sample: sample)
    return tally, gallery


def test_a_gallery_shows_the_same_fair_share_in_whatever_order_samples_come(entries):
    many = [({"number": number}, entries[0][1]) for number in range(500)]
    forward, backward = Gallery(), Gallery()
    for gallery, order in ((forward, many), (backward, many[::-1])):
        for entry, sample in order:
            gallery.offer(entry, lambda sample=sample: sample)
    numbers = [[entry["number"] for entry, _ in gallery.samples()] for gallery in (forward, backward)]
    assert numbers[0] == numbers[1] == sorted(numbers[0])
    assert len(numbers[0]) == SAMPLES_SHOWN
    assert max(numbers[0]) > 250


def test_the_page_holds_all_and_every_text_is_escaped(counted, tmp_path):
    tally, gallery = counted
    path = tmp_path / "report.html"
    write_report(
        path,
        tally,
        gallery,
        title="in & out",
        settings={"ground": "Ground(threshold=0.4)"},
        spend=Spend(7, 700, 140, 0.0021),
        left_out=Counter({"kinds of near misses": 38}),
    )
    page = path.read_text(encoding="utf-8")
    cards = re.findall(r"<article>.*?</article>", page, re.DOTALL)
    assert len(cards) == 19
    assert all(card.count("data:image/jpeg;base64,") == 1 for card in cards)
    assert cards[0].count("class=box") == 1  # the whole picture is no box
    assert 'style="left:10.0%;top:20.0%;width:40.0%;height:55.0%' in cards[0]
    assert "a &lt;red&gt; cup" in cards[0]
    assert "<i>color</i>a &lt;blue&gt; cup" in cards[0]
    assert "(whole picture)" in cards[0]
    assert "<red>" not in page
    assert "a cup &amp; more" in page
    assert page.count("<svg") == 5
    assert "no phrase found <b>10</b>" in page
    assert "failed: picture <b>1</b>" in page
    assert "Left out: 38 kinds of near misses." in page
    assert "700 tokens read, 140 written" in page
    assert "Ground(threshold=0.4)" in page
    assert page.count("<div class=ended>") == 2
    ended = re.search(r"ground: no phrase found</h3><div class=ended>(.*?)</div><h3>", page, re.DOTALL)
    assert ended[1].count("data:image") == SAMPLES_PER_REASON
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["spend"] == {"answers": 7, "prompt_tokens": 700, "completion_tokens": 140, "cost": 0.0021}
    assert numbers["stages"]["ground"]["dropped"] == {"no phrase found": 10}
    assert numbers["negatives_per_phrase"] == {"0": 19, "2": 19}


def test_a_picture_that_cannot_be_shown_leaves_its_words(entries, tmp_path):
    tally, gallery = Tally(("ground",)), Gallery()

    def gone():
        raise OSError("the file has gone")

    entry, sample = entries[1]
    gallery.offer(entry, gone)
    gallery.offer({**entry, "number": 2}, lambda: replace(sample, image=b"broken"))
    write_report(tmp_path / "a.html", tally, gallery, title="a", settings={}, spend=Spend(), left_out=Counter())
    page = (tmp_path / "a.html").read_text()
    assert "Sample 1 can no longer be read." in page
    assert "the picture cannot be read" in page


def test_kinds_from_outside_are_drawn_as_they_are_written(tmp_path):
    tally, gallery = Tally(("ground",)), Gallery()
    kinds = ("<img src=x>", "$\\frac{$", "a\x00\x1b[2J\u202eb")
    near = [{"text": "a cup", "kind": kind} for kind in kinds]
    region = {"box": [0.1, 0.2, 0.5, 0.75], "phrase": "a cup", "negatives": near}
    tally.add({"number": 0, "passed": [[0, 0, {}], [1, 3, {}]], "row": {"id": "a", "regions": [region]}})
    path = tmp_path / "report.html"
    write_report(path, tally, gallery, title="in", settings={}, spend=Spend(), left_out=Counter())
    page = path.read_text(encoding="utf-8")
    for shown in ("&lt;img src=x&gt;", "$\\frac{$", "a\\x00\\x1b[2J\\u202eb"):
        assert shown in page
    assert "<img src=x" not in page
