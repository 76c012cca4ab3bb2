"""A model behind an OpenAI-compatible endpoint that answers questions about pictures in words, to be measured."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...data.files import read_file
from .assistant import data_url
from .completion import read_completion
from .endpoint import Endpoint

PREFIX = "endpoint:"


@dataclass(frozen=True)
class RemoteAnswerer:
    """A remote model that is asked. It is `evaluation.answers.Answers`, as `multimodal.answer.Answerer` is.

    Attributes:
        endpoint: Its server.
        model: As the server names it.
        suffix: Put behind every question, such as a wish for one word.
        most_new: Longest answer, in tokens.
        longest_side: Pictures are scaled down to this many pixels.
    """

    endpoint: Endpoint
    model: str
    suffix: str = ""
    most_new: int = 64
    longest_side: int = 1024

    @classmethod
    def of(cls, name: str, suffix: str = "", most_new: int = 64) -> "RemoteAnswerer":
        """Return that of a name such as "endpoint:http://localhost:8000/v1#tiny-vl".

        Raises:
            ValueError: If the name lacks address or model.
        """
        url, _, model = name.removeprefix(PREFIX).partition("#")
        if not url or not model:
            raise ValueError(f"'{name}' lacks address or model. Write it like endpoint:http://localhost:8000/v1#MODEL.")
        return cls(Endpoint(url=url), model, suffix, most_new)

    def answer(self, pictures: Sequence[Path | bytes], questions: Sequence[str]) -> list[str]:
        """Return an answer to each question about its picture; a refusal in the words of the model.

        Raises:
            NoAnswer: If a question gets none, however often it is asked.
            Halted: If no question will get one.
            ValueError: If their numbers differ, or a picture is broken.
        """
        if len(pictures) != len(questions):
            raise ValueError(f"There are {len(pictures)} pictures and {len(questions)} questions. Give one of each.")
        threads = ThreadPoolExecutor(self.endpoint.concurrency)
        try:
            return list(threads.map(self._ask, pictures, questions))
        finally:
            threads.shutdown(cancel_futures=True)

    def _ask(self, picture: Path | bytes, question: str) -> str:
        content = read_file(picture) if isinstance(picture, Path) else picture
        parts = [
            {"type": "text", "text": question + self.suffix},
            {"type": "image_url", "image_url": {"url": data_url(content, self.longest_side)}},
        ]
        messages = [{"role": "user", "content": parts}]
        body = {"model": self.model, "messages": messages, "max_tokens": self.most_new, "temperature": 0}
        return self.endpoint.post(body, read_completion).text.strip()
