"""Answers in words to questions about pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..data.formats.conversations import IMAGE, Turn
from .chat import Style, encode_chat
from .chats import in_batches, open_picture, picture_processor
from .llava import Assembled, open_folder

SHORT = "\nAnswer the question using a single word or phrase."
"""LLaVA's wish for a short answer."""


@dataclass(frozen=True)
class Answerer:
    """A LLaVA that is asked. Decoding is greedy, as LLaVA's own tables have it.

    Attributes:
        parts: The model and all that it needs.
        style: How conversations are written.
        most_new: Longest answer, in tokens.
        batch_size: Questions at once.
        suffix: Put behind every question, such as a wish for one word.
    """

    parts: Assembled
    style: Style = "vicuna"
    most_new: int = 64
    batch_size: int = 8
    suffix: str = ""

    @classmethod
    def open(cls, folder: Path | str, device: str | None = None, **settings: Any) -> "Answerer":
        """Return that of a folder which a training wrote.

        Raises:
            ValueError: If the folder holds no LLaVA.
        """
        parts = open_folder(Path(folder))
        parts.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(parts, **settings)

    @torch.inference_mode()
    def answer(self, pictures: Sequence[Path | bytes | Image.Image], questions: Sequence[str]) -> list[str]:
        """Return an answer to each question about its picture.

        Args:
            pictures: One a question.
            questions: In words.

        Raises:
            ValueError: If their numbers differ, a question is empty, or a picture is broken.
        """
        if len(pictures) != len(questions):
            raise ValueError(f"There are {len(pictures)} pictures and {len(questions)} questions. Give one of each.")
        if not all(question.strip() for question in questions):
            raise ValueError("A question is empty. Ask something of the picture.")
        pairs = list(zip(pictures, questions, strict=True))
        return [answer for batch in in_batches(pairs, self.batch_size) for answer in self._batch(batch)]

    def _batch(self, pairs: Sequence[tuple[Path | bytes | Image.Image, str]]) -> list[str]:
        model, tokenizer = self.parts.model, self.parts.tokenizer
        image_id, tokens = model.config.image_token_index, self.parts.reading.tokens
        processor = picture_processor(self.parts.pictures)
        pixels = processor([open_picture(picture) for picture, _ in pairs], return_tensors="pt").pixel_values
        rows = [
            encode_chat(
                tokenizer, (Turn("human", f"{IMAGE}\n{text}{self.suffix}"),), self.style, image_id, tokens, 1 << 20
            ).ids
            for _, text in pairs
        ]
        longest, pad = max(map(len, rows)), tokenizer.pad_token_id
        ids = torch.tensor([[*[pad] * (longest - len(row)), *row] for row in rows], device=model.device)
        mask = torch.tensor([[place >= longest - len(row) for place in range(longest)] for row in rows])
        output = model.generate(
            input_ids=ids,
            attention_mask=mask.to(model.device),
            pixel_values=pixels.to(model.device, model.dtype),
            max_new_tokens=self.most_new,
            do_sample=False,
            pad_token_id=pad,
        )
        answers = tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
        return [answer.strip() for answer in answers]
