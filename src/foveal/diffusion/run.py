"""What `foveal imagine` does: a picture, a folder of pictures, or a page that compares."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..encoder.encoder import Encoder
from .compare import compare, write_page
from .imagine import Drawing, draw, draw_all, save, tokenizer_of
from .pipeline import Padding, Pipeline, lengthen
from .prompts import Length, Prompt, length_of, read_prompts, summary

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is drawn, how, and where to.

    Attributes:
        prompt: One. Empty: those of `captions`.
        captions: A file of prompts.
        out: The picture, the folder, or the page. None: imagined.png, imagined, imagined.html.
        drawing: How pictures are drawn.
        names: Of pipeline and text encoder, and what fills prompts up ("pad").
        compare: Write a page of pairs.
    """

    prompt: str
    captions: Path | None
    out: Path | None
    drawing: Drawing
    names: dict[str, str]
    compare: bool = False

    def __post_init__(self) -> None:
        """Refuse what can be seen to be wrong before a pipeline is opened."""
        if bool(self.prompt) == (self.captions is not None):
            raise ValueError('Give a prompt or --captions FILE, one of them: foveal imagine PIPELINE "a red cat".')
        if self.out is not None and self.out.is_dir() and (self.compare or not self.captions):
            raise ValueError(
                f"{self.out} is a folder, and this writes one file. Name a file, such as {self.out}/a.png."
            )


def imagine(pipeline: Pipeline, encoder: Encoder | None, job: Job, say: Callable[[str], None]) -> None:
    """Draw what a job asks for.

    Args:
        pipeline: Of diffusers; is lengthened.
        encoder: Whose text tower reads the prompts. None: the pipeline's own.
        job: What, how and where to.
        say: Gets a line on the prompts' length, and one on the end.

    Raises:
        ValueError: If there is no prompt, the encoder does not fit the pipeline, or as `draw_all`.
    """
    prompts = read_prompts(job.captions) if job.captions else [Prompt("prompt", job.prompt)]
    if encoder is not None:
        pad: Padding = "zero" if job.names["pad"] == "zero" else "pipeline"
        changes = lengthen(pipeline, encoder, pad=pad)
        say(f"{job.names['text_encoder']} is in the place of {', '.join(changes)}.")
    tokenizer = tokenizer_of(pipeline)
    lengths = [length_of(tokenizer, prompt.text) for prompt in prompts]
    say(summary(lengths) if len(prompts) > 1 else f"The prompt has {lengths[0]}.")
    _warn(prompts, lengths)
    say(_drawn(pipeline, prompts, job))


def _drawn(pipeline: Pipeline, prompts: Sequence[Prompt], job: Job) -> str:
    """Draw, and return a line on where it is."""
    drawing = job.drawing
    if job.compare:
        page = job.out or Path("imagined.html")
        pairs = [compare(pipeline, prompt, drawing, number) for number, prompt in enumerate(prompts)]
        encoder = job.names["text_encoder"] or "its own text encoder"
        settings = f"{drawing.steps} steps, guidance {drawing.guidance:g}"
        write_page(pairs, page, f"{job.names['pipeline']} with {encoder}, {settings}.")
        return f"Look at {page}."
    if job.captions:
        folder = job.out or Path("imagined")
        new = draw_all(pipeline, prompts, folder, drawing, job.names)
        return f"{folder} holds {len(prompts):,} pictures, {new:,} of them new."
    out = job.out or Path("imagined.png")
    save(draw(pipeline, prompts[0].text, drawing), out, prompts[0].text, drawing.seed)
    return f"{out} is the picture."


def _warn(prompts: Sequence[Prompt], lengths: Sequence[Length]) -> None:
    """Warn where words are cut, a few prompts by name."""
    cut = [(prompt, length) for prompt, length in zip(prompts, lengths, strict=True) if length.cut]
    for prompt, length in cut[:3]:
        _log.warning("%s is cut: %s.", f"'{prompt.name}'" if len(prompts) > 1 else "The prompt", length)
    if len(cut) > 3:
        _log.warning("%s more prompts are cut.", f"{len(cut) - 3:,}")
