import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import pytest
import torch
from PIL import Image

from foveal.data.images import ImageTransform
from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.demo import page
from foveal.demo.page import Answer, write_page
from foveal.encoder import Encoder
from foveal.evaluation import Report
from foveal.evaluation.result import Metric, Result
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.types import Negative, Region, Sample


def png(color="red"):
    content = BytesIO()
    Image.new("RGB", (8, 8), color).save(content, "PNG")
    return content.getvalue()


RIGHT = Region((0.25, 0.5, 0.75, 1.0), "a <b>pig</b>", (Negative("a \"cow\" & 'calf'"),))
TARGET = Sample("asked", png(), ('it\'s a "pig" <i>',), "A pig <script>alert(1)</script> & a cow.", (RIGHT,))
OTHER = Sample("other", png("blue"), ("a cow",), "A cow.")
ANSWER = Answer(
    target=TARGET,
    hits=[(OTHER, 0.75), (TARGET, 0.5)],
    phrases=[(RIGHT, [(RIGHT.negatives[0].text, 0.625), (RIGHT.phrase, 0.25)])],
)


class Elements(HTMLParser):
    """The start tags of a page with their attributes, and its texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def section():
    return Elements(page._section(ANSWER))


def test_texts_are_shown_and_never_read_as_html(section):
    assert not section.of("script")
    assert not section.of("b")
    assert not section.of("i")
    for text in (TARGET.long_caption, RIGHT.phrase, RIGHT.negatives[0].text):
        assert text in section.texts
    assert {image["alt"] for image in section.of("img")} == {TARGET.captions[0], OTHER.captions[0]}


def test_the_picture_asked_about_is_marked_and_no_other(section):
    marks = [figure.get("class") for figure in section.of("figure")]
    assert marks == [None, "right", None]  # the second found, and the one that shows the region
    assert section.texts.index("0.750") < section.texts.index("0.500")


def test_a_box_lies_where_its_fractions_say(section):
    (box,) = [each["style"] for each in section.of("div") if each.get("class") == "box"]
    assert box == "left:25.0%;top:50.0%;width:50.0%;height:50.0%"


def test_phrases_are_ranked_and_the_true_one_marked(section):
    assert [row["class"] for row in section.of("tr")] == ["no", "yes"]
    assert section.texts.index(RIGHT.negatives[0].text) < section.texts.index(RIGHT.phrase)


def test_pictures_are_in_the_page_itself(section):
    sources = [image["src"] for image in section.of("img")]
    assert [b64decode(source.removeprefix("data:image/png;base64,")) for source in sources] == [
        OTHER.image,
        TARGET.image,
        TARGET.image,
    ]


def test_a_picture_file_is_taken_into_the_page_too(tmp_path):
    path = tmp_path / "pig.jpg"
    Image.new("RGB", (8, 8)).save(path)
    (image,) = Elements(page._picture(Sample("x", path, ("a pig",)))).of("img")
    kind, content = image["src"].split(";base64,")
    assert (kind, b64decode(content)) == ("data:image/jpeg", path.read_bytes())


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder(DualEncoder(tiny()).eval(), Tokenizer.clip(), ImageTransform(size=32), overflow="truncate")


def report(model: str, value: float) -> Report:
    result = Result({"top1": Metric(value, value - 1, value + 1, 100)}, {}, "regions", 100, 100)
    return Report(model, "global", {"scenes@test1000": {"region_choice": result}}, {"scenes@test1000": 1.0})


def test_an_answer_is_the_nearest_pictures_and_the_ranked_phrases_of_each_region(encoder):
    gallery = list(Scenes(count=6, size=32))
    images = encoder.encode_images([sample.image for sample in gallery])
    answer = page._answer(encoder, gallery, images, gallery[2])
    scores = (images @ encoder.encode_texts([gallery[2].long_caption], "long_caption")[0]).tolist()
    best = sorted(range(6), key=lambda i: -scores[i])[: page.TOP]
    assert [sample.id for sample, _ in answer.hits] == [gallery[i].id for i in best]
    assert [score for _, score in answer.hits] == pytest.approx([scores[i] for i in best])
    assert [region for region, _ in answer.phrases] == list(gallery[2].regions)
    for region, ranked in answer.phrases:
        assert sorted(text for text, _ in ranked) == sorted([region.phrase, *(n.text for n in region.negatives)])
        assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)


def test_a_page_holds_table_model_attribution_and_the_longest_queries(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "GALLERY", 8)
    write_page(tmp_path / "index.html", encoder, [report("clip & $5", 12.0), report("ours <1>", 70.8)], queries=3)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    elements = Elements(text)
    assert len(elements.of("section")) == 3
    assert "ours <1>" in elements.texts
    assert "clip & $5" in elements.texts
    assert {"12.0 [11.0, 13.0]", "70.8 [69.8, 71.8]"} <= set(elements.texts)
    assert any("OpenMoji" in part and "CC BY-SA 4.0" in part for part in elements.texts)
    assert not re.search(r"(src|href)=[\"']?(https?:|/)", text)  # nothing is fetched from elsewhere
    longest = sorted((s.long_caption for s in Scenes(7, split="test", count=8, size=32)), key=len)[-3:]
    assert [part for part in elements.texts if part in longest] == longest[::-1]


def test_the_gallery_is_of_test_scenes_that_no_training_saw(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "GALLERY", 3)
    answers = []
    monkeypatch.setattr(page, "_section", lambda answer: answers.append(answer) or "")
    monkeypatch.setattr(page, "TOP", 2)
    write_page(tmp_path / "index.html", encoder, [report("m", 1.0)], queries=2)
    assert [len(answer.hits) for answer in answers] == [2, 2]
    assert all(sample.id.startswith("scenes-test-") for answer in answers for sample, _ in answer.hits)
