"""What long prompts buy: the same seed with a prompt cut at 77 tokens and whole, and where its last words look."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..writing import replacing
from .attention import read_attention
from .imagine import Drawing, draw, tokenizer_of
from .pipeline import Pipeline
from .prompts import Length, Prompt, cut_to, length_of, word_ends

CLIP_LENGTH = 77
_SIDE = 384
_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Prompts cut at 77 tokens and whole</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
  section { border-top: 1px solid #ddd; margin-top: 2rem; padding-top: 1rem }
  .row { display: flex; gap: 1rem; flex-wrap: wrap }
  figure { margin: 0 } figure img { width: 22rem; display: block }
  .words figure img { width: 8rem } figcaption { color: #555 }
  .late { background: #ffe9a8 } .cut { color: #b3261e; text-decoration: line-through }
</style>
<h1>Prompts cut at 77 tokens and whole</h1>
<p>$about</p>
$sections
</html>
""")


@dataclass(frozen=True)
class Comparison:
    """A prompt drawn twice from one seed.

    Attributes:
        prompt: The whole one.
        start: Its part within 77 tokens.
        length: Of the whole one.
        seed: Of both pictures.
        cut: The picture of the start.
        whole: The picture of all.
        words: Words behind the start with their attention over the picture, which sums to 1 over it.
    """

    prompt: Prompt
    start: str
    length: Length
    seed: int
    cut: Image.Image
    whole: Image.Image
    words: tuple[tuple[str, Float[Tensor, "Y X"]], ...]


def compare(pipeline: Pipeline, prompt: Prompt, drawing: Drawing, index: int = 0) -> Comparison:
    """Draw a prompt cut at CLIP's 77 tokens and whole, with one seed.

    Args:
        pipeline: Lengthened. Only those with a UNet show where words look.
        prompt: What to draw.
        drawing: How.
        index: Added to the seed.
    """
    tokenizer = tokenizer_of(pipeline)
    start = cut_to(tokenizer, prompt.text, CLIP_LENGTH)
    cut = draw(pipeline, start, drawing, index)
    with read_attention(pipeline) as maps:
        whole = draw(pipeline, prompt.text, drawing, index)
    words = late_words(tokenizer, prompt.text, maps.mean()) if maps.count else ()
    length = length_of(tokenizer, prompt.text)
    return Comparison(prompt, start, length, drawing.seed + index, cut, whole, words)


def late_words(
    tokenizer: object, text: str, attention: Float[Tensor, "Y X L"], limit: int = CLIP_LENGTH
) -> tuple[tuple[str, Float[Tensor, "Y X"]], ...]:
    """Return each word behind a limit with its share of every patch's attention, scaled to a sum of 1.

    Args:
        tokenizer: Of the text.
        text: The prompt.
        attention: Of each patch to each token, the start mark first.
        limit: Tokens that CLIP reads, both marks among them.
    """
    ends = word_ends(tokenizer, text)
    words: list[tuple[str, Tensor]] = []
    begin = 0
    for number, end in enumerate(ends[: attention.shape[2] - 2]):
        ended = end == len(text) or not text[end].isalnum() or number + 1 == len(ends)
        if not ended:
            continue
        first = next(place for place in range(number + 1) if ends[place] > begin)
        word, begin = text[begin:end].strip(), end
        if first >= limit - 2 and any(letter.isalnum() for letter in word):
            share = attention[:, :, first + 1 : number + 2].sum(dim=2)
            words.append((word, share / share.sum()))
    return tuple(words)


def write_page(comparisons: Sequence[Comparison], file: Path, about: str) -> None:
    """Write one HTML file with all pictures in it.

    Args:
        comparisons: One a section.
        file: Becomes the page, whole or not at all.
        about: A line on pipeline, text encoder and settings.
    """
    page = _PAGE.substitute(about=escape(about), sections="\n".join(map(_section, comparisons)))
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")


def _section(comparison: Comparison) -> str:
    text, start = comparison.prompt.text, comparison.start
    unread = comparison.length.cut
    late = text[len(start) : len(text) - len(unread)]
    words = (
        escape(start)
        + (f"<span class=late>{escape(late)}</span>" if late else "")
        + (f" <span class=cut>{escape(unread)}</span>" if unread else "")
    )
    change = _change(comparison.cut, comparison.whole)
    pictures = (
        _figure(comparison.cut, f"cut at {CLIP_LENGTH} tokens")
        + _figure(comparison.whole, f"whole: {min(comparison.length.tokens, comparison.length.limit)} tokens")
        + _figure(_heat(comparison.whole, change), "where they differ")
    )
    maps = "".join(_figure(_heat(comparison.whole, share), word) for word, share in comparison.words)
    shown = (
        f"<p>Where the words behind token {CLIP_LENGTH} look:</p><div class='row words'>{maps}</div>" if maps else ""
    )
    return (
        f"<section><h2>{escape(comparison.prompt.name)}</h2><p>{words}</p><p>Seed {comparison.seed}."
        f" {escape(str(comparison.length))}.</p><div class=row>{pictures}</div>{shown}</section>"
    )


def _change(left: Image.Image, right: Image.Image) -> Float[Tensor, "Y X"]:
    """Return how much two pictures differ, at each pixel, the mean of three colors."""
    first, second = (torch.from_numpy(np.asarray(picture.convert("RGB"), np.float32)) for picture in (left, right))
    return (first - second).abs().mean(dim=2)


def _heat(picture: Image.Image, strength: Float[Tensor, "Y X"]) -> Image.Image:
    """Return a gray picture with colors where something is strong, from its least to its most."""
    from matplotlib import colormaps

    low, high = strength.aminmax()
    level = ((strength - low) / (high - low).clamp(min=1e-12)).numpy()
    gray = np.asarray(picture.convert("L").resize((_SIDE, _SIDE)), np.float32)[:, :, None]
    mask = Image.fromarray((level * 255).round().astype(np.uint8)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    share = np.asarray(mask, np.float32)[:, :, None] / 255
    color = colormaps["magma"](share[:, :, 0])[:, :, :3] * 255
    return Image.fromarray((gray * (1 - share) * 0.7 + color * (0.3 + 0.7 * share)).clip(0, 255).astype(np.uint8))


def _figure(picture: Image.Image, words: str) -> str:
    content = BytesIO()
    picture.convert("RGB").save(content, "JPEG", quality=92)
    source = b64encode(content.getvalue()).decode()
    return (
        f'<figure><img alt="{escape(words)}" src="data:image/jpeg;base64,{source}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )
