"""Long captions, written by a multimodal model. The first stage of FG-CLIP's data engine (arXiv:2505.05071, section 3).

Its authors asked CogVLM2 and kept a picture's alt text as the short caption; their prompt is not published. Ours is
`prompts/caption.v1.txt`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...types import Sample
from ..assistant.assistant import Assistant, Refused
from ..assistant.prompt import fill
from ..assistant.protocol import threads
from ..assistant.refusal import refuses
from .settings import Settings

_TEXT = {"type": "string", "minLength": 1}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"long_caption": _TEXT, "short_caption": _TEXT},
    "required": ["long_caption", "short_caption"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Stage that gives every picture a long caption, and a short one where it has no alt text.

    Attributes:
        assistant: Who is asked.
        prompt: Name of a shipped prompt, or one's own file.
        replace_captions: Write captions even where there are some.
    """

    assistant: Assistant
    prompt: str = "caption.v1"
    replace_captions: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "Caption":
        """Build the stage of a command line.

        Raises:
            ValueError: If there is no endpoint.
        """
        if settings.assistant is None:
            raise ValueError("Stage 'caption' asks a model: name one with --endpoint and --model, or leave it out.")
        return cls(assistant=settings.assistant)

    @property
    def concurrency(self) -> int:
        """Samples that may wait for an answer at once."""
        return threads(self.assistant)

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with its captions; as it is where it has a long one already.

        Raises:
            NoAnswer: If there is no usable answer.
        """
        if sample.long_caption and not self.replace_captions:
            return sample
        long_caption, short_caption = self.assistant.ask(self._question, SCHEMA, sample.image, _captions)
        captions = (short_caption,) if self.replace_captions or not any(sample.captions) else sample.captions
        return replace(sample, captions=captions, long_caption=long_caption)

    @cached_property
    def _question(self) -> str:
        return fill(self.prompt)


def _captions(answer: Mapping[str, str]) -> tuple[str, str]:
    """Return the long and the short caption of an answer, each on one line."""
    long_caption, short_caption = (" ".join(answer[key].split()) for key in ("long_caption", "short_caption"))
    if not long_caption or not short_caption:
        raise ValueError("a caption is empty")
    if refuses(long_caption) or refuses(short_caption):
        raise Refused(f"refused: {long_caption[:100]}")
    return long_caption, short_caption
