"""A page to look at: long queries, the pictures found, the region that answers each phrase, and its hard negatives."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import islice
from pathlib import Path
from string import Template

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..data.scenes import ARTWORK, Scenes
from ..encoder import Encoder
from ..evaluation.report import Report, cell, table
from ..similarity import cosine
from ..types import Region, Sample

HEADLINES = (
    ("scenes@test1000", "region_choice", "top1", "A box: its phrase among ten hard negatives (chance 9)"),
    ("scenes@test1000", "long_caption_retrieval", "text_to_image@1", "A long text finds its picture among 1,000"),
    (
        "scenes-long@test1000",
        "long_caption_retrieval",
        "text_to_image@1",
        "The same among families that differ in one fact",
    ),
    ("scenes@test1000", "long_caption_choice", "mean", "A long text against a hard negative (chance 50)"),
    ("scenes@test1000", "caption_choice", "mean", "A short caption against a hard negative (chance 50)"),
)
GALLERY = 300
TOP = 4
PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>foveal demo</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
  pre { background: #f5f5f2; padding: 1rem; overflow-x: auto; font-size: 12px; line-height: 1.35 }
  section { border-top: 1px solid #ddd; margin-top: 2rem; padding-top: 1rem }
  .found { display: flex; gap: 1rem; flex-wrap: wrap }
  figure { margin: 0; position: relative; width: 11rem }
  figure img { width: 100%; image-rendering: pixelated; display: block }
  figure.right img { outline: 3px solid #2a8f4f }
  .box { position: absolute; border: 2px solid #e5007d; box-sizing: border-box; pointer-events: none }
  figcaption, small { color: #666 }
  .yes { color: #2a8f4f; font-weight: 600 } .no { color: #b3261e }
  .numbers td, .numbers th { text-align: right; padding: .2rem 1.5rem .2rem 0 }
  .numbers td:first-child { text-align: left }
  table { border-collapse: collapse } td { padding: .1rem .8rem .1rem 0 }
</style>
<h1>foveal demo</h1>
<p>Pictures and texts that the models never saw, in compositions that were kept from training. The answers below are
those of <b>$model</b>. Green: the picture that the query was written about.</p>
<table class=numbers>$headlines</table>
<p><small>Percent, with 95 % intervals.</small></p>
<details><summary>Every number</summary><pre>$table</pre></details>
$queries
<p><small>$attribution</small></p>
</html>
""")


@dataclass(frozen=True)
class Answer:
    """One query and what was found.

    Attributes:
        target: The sample that the query was written about.
        hits: The best pictures with their similarities.
        phrases: For each region of the right picture: its phrase, its hard negatives, and their similarities to it.
    """

    target: Sample
    hits: list[tuple[Sample, float]]
    phrases: list[tuple[Region, list[tuple[str, float]]]]


def write_page(path: Path, encoder: Encoder, reports: Sequence[Report], *, queries: int = 6) -> None:
    """Write one HTML file with everything in it.

    Args:
        path: The file.
        encoder: Answers the queries.
        reports: Of the models compared; the last one is of the encoder.
        queries: How many.
    """
    size = encoder.image_size
    gallery = list(islice(Scenes(seed=7, split="test", size=size), GALLERY))
    images = encoder.encode_images([sample.image for sample in gallery])
    longest = sorted(range(len(gallery)), key=lambda i: -len(gallery[i].long_caption))[:queries]
    sections = [_section(_answer(encoder, gallery, images, gallery[i])) for i in longest]
    page = PAGE.substitute(
        model=escape(reports[-1].model),
        headlines=_headlines(reports),
        table=escape(table(reports)),
        queries="\n".join(sections),
        attribution=escape(ARTWORK),
    )
    path.write_text(page, encoding="utf-8")


def _headlines(reports: Sequence[Report]) -> str:
    rows = ["<tr><td>" + "".join(f"<th>{escape(report.model)}" for report in reports)]
    for benchmark, task, metric, words in HEADLINES:
        results = [report.results.get(benchmark, {}).get(task) for report in reports]
        rows.append(f"<tr><td>{words}" + "".join(f"<td>{cell(result, metric)}" for result in results))
    return "".join(rows)


def _answer(encoder: Encoder, gallery: list[Sample], images: Float[Tensor, "N E"], target: Sample) -> Answer:
    embedding = encoder.encode_texts([target.long_caption], "long_caption")
    best = cosine(embedding, images)[0].topk(TOP)
    hits = [(gallery[i], score) for i, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
    regions = encoder.encode_regions([target.image], [[region.box for region in target.regions]])[0]
    phrases = []
    for region, vector in zip(target.regions, regions, strict=True):
        texts = [region.phrase, *(negative.text for negative in region.negatives)]
        scores = cosine(vector[None], encoder.encode_texts(texts, "phrase"))[0]
        order = scores.argsort(descending=True).tolist()
        phrases.append((region, [(texts[i], scores[i].item()) for i in order]))
    return Answer(target, hits, phrases)


def _section(answer: Answer) -> str:
    figures = "".join(_figure(sample, score, right=sample.id == answer.target.id) for sample, score in answer.hits)
    phrases = "".join(_phrase(answer.target, region, ranked) for region, ranked in answer.phrases)
    return (
        f"<section><p>{escape(answer.target.long_caption)}</p><div class=found>{figures}</div>"
        f"<h3>Its regions, and what their phrases were told from</h3><div class=found>{phrases}</div></section>"
    )


def _figure(sample: Sample, score: float, *, right: bool) -> str:
    mark = " class=right" if right else ""
    return f"<figure{mark}>{_picture(sample)}<figcaption>{score:.3f}</figcaption></figure>"


def _phrase(sample: Sample, region: Region, ranked: list[tuple[str, float]]) -> str:
    x0, y0, x1, y1 = (100 * side for side in region.box)
    style = f"left:{x0:.1f}%;top:{y0:.1f}%;width:{x1 - x0:.1f}%;height:{y1 - y0:.1f}%"
    rows = "".join(
        f"<tr class={'yes' if text == region.phrase else 'no'}><td>{score:.3f}<td>{escape(text)}"
        for text, score in ranked[:4]
    )
    frame = (
        f"<figure><div style='position:relative'>{_picture(sample)}<div class=box style='{style}'></div></div></figure>"
    )
    return f"<div>{frame}<table>{rows}</table></div>"


def _picture(sample: Sample) -> str:
    content = sample.image if isinstance(sample.image, bytes) else sample.image.read_bytes()
    with Image.open(BytesIO(content)) as image:
        kind = (image.format or "png").lower()
    return f'<img alt="{escape(sample.captions[0])}" src="data:image/{kind};base64,{b64encode(content).decode()}">'
