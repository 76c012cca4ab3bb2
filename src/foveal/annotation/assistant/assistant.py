"""A multimodal model behind an OpenAI-compatible endpoint, as something one can ask."""

import json
import logging
import struct
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from ...data.files import read_file
from ...data.images import open_upright
from .answers import NOBODY, Answer, Answers
from .completion import Malformed, Usage, read_completion
from .endpoint import Endpoint, NoAnswer, Unsupported
from .foreign_json import Unkeepable, first_object
from .refusal import refuses

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""How often an answer is asked for: once more after one that is of no use."""
LONGEST = 1 << 16
"""Characters of an answer that is read. Those of a thousand tokens are 5,000 or so."""

_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)  # for `Image.open`


class Refused(NoAnswer):
    """Refusal of a model, which will not or says that it cannot. Asking again would be the same."""


@dataclass
class _Line:
    """Connection and locks that the threads of one assistant share."""

    endpoint: Endpoint
    answers: Answers
    extra: dict[str, Any]
    structured: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: dict[bytes, tuple[threading.Lock, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Assistant:
    """Model that answers questions about pictures with JSON, from vLLM, SGLang, llama.cpp's server or a hosted model.

    Every answer is kept on disk by picture, question and model, and never asked for twice. One that does not fit its
    schema is asked for once more, with what is wrong. May be called from many threads.

    Attributes:
        endpoint: Its address, with "/v1".
        model: As the endpoint names it.
        answers: The file where answers are kept.
        key_variable: Environment variable that holds the key. Empty: no key is sent.
        concurrency: Questions on their way at once.
        timeout: Seconds for a question and its whole answer.
        tries: How often a question is posted before its sample is kept aside.
        pause: Seconds before the second try, doubled before each further one.
        max_tokens: Longest answer.
        temperature: 0 for the likeliest answer.
        longest_side: Pictures are scaled down to this many pixels.
        price_in: Of a million tokens read.
        price_out: Of a million tokens written.
        extra: Further fields of the request, as JSON ('{"top_p": 0.9}'); null takes one away.
        fresh: Pass over answers on disk that were of no use, and ask again.
    """

    endpoint: str = field(repr=False)
    model: str
    answers: Path = field(repr=False)
    key_variable: str = field(default="", repr=False)
    concurrency: int = field(default=16, repr=False)
    timeout: float = field(default=120.0, repr=False)
    tries: int = field(default=6, repr=False)
    pause: float = field(default=1.0, repr=False)
    max_tokens: int = 1024
    temperature: float = 0.0
    longest_side: int = 1024
    price_in: float = field(default=0.0, repr=False)
    price_out: float = field(default=0.0, repr=False)
    extra: str = "{}"
    fresh: bool = field(default=False, repr=False)
    _line: _Line = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._connect(Answers(self.answers))

    def _connect(self, answers: Answers) -> None:
        extra = _object(self.extra)
        endpoint = Endpoint(
            url=self.endpoint,
            key_variable=self.key_variable,
            concurrency=-(-self.concurrency // answers.callers),
            timeout=self.timeout,
            tries=self.tries,
            pause=self.pause,
            patience=max(20, 2 * self.concurrency),
        )
        object.__setattr__(self, "_line", _Line(endpoint, answers, extra))

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields and where answers are: a connection does not travel."""
        return {name: value for name, value in vars(self).items() if name != "_line"} | {"_line": self._line.answers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        answers = state.pop("_line")
        vars(self).update(state)
        self._connect(answers)

    @property
    def answer_store(self) -> Answers:
        """The answers on disk, and what they cost."""
        return self._line.answers

    def ask(
        self,
        question: str,
        schema: Mapping[str, Any],
        picture: Path | bytes | None = None,
        check: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Return the answer to a question, from disk if it was given before.

        Args:
            question: What to do, and how to answer: with one JSON object.
            schema: JSON schema of the answer.
            picture: What it is about.
            check: Makes of the answer what the caller wants. A ValueError says what is wrong with it.

        Returns:
            What `check` makes of the answer, or the answer itself.

        Raises:
            NoAnswer: If the model refuses, gives no fitting answer when asked twice, or the endpoint none at all.
            Halted: If the endpoint is down or refuses the key.
            ValueError: If the picture is broken.
        """
        content = read_file(picture) if isinstance(picture, Path) else picture
        key = self._key(question, schema, content)
        with self._alone(key):
            problems: list[tuple[str, str]] = []
            for answer in self.answer_store.by_key(key):
                try:
                    return _use(answer, schema, check)
                except Unkeepable as error:
                    log.warning("%s: an answer is dropped: %s.", self.answers, error)
                except ValueError as error:
                    if isinstance(error, NoAnswer) and not self.fresh:
                        raise
                    problems.append((answer.text, str(error)))
            problems = [] if self.fresh else problems
            while len(problems) < ATTEMPTS:
                answer = self._get(self._messages(question, content, problems), schema)
                self.answer_store.add(key, answer)
                try:
                    return _use(answer, schema, check)
                except NoAnswer:
                    raise
                except ValueError as error:
                    problems.append((answer.text, str(error)))
        raise NoAnswer(f"answers that do not fit: {problems[-1][1]}")

    def close(self) -> None:
        """Ask nothing any more. Answers on their way are still kept."""
        self._line.endpoint.close()

    @contextmanager
    def _alone(self, key: bytes) -> Iterator[None]:
        """Let one thread at a time ask one question; a thread that waits then finds its answer."""
        with self._line.lock:
            key_lock, waiting = self._line.keys.get(key, (threading.Lock(), 0))
            self._line.keys[key] = (key_lock, waiting + 1)
        try:
            with key_lock:
                yield
        finally:
            with self._line.lock:
                key_lock, waiting = self._line.keys.pop(key)
                if waiting > 1:
                    self._line.keys[key] = (key_lock, waiting - 1)

    def _key(self, question: str, schema: Mapping[str, Any], content: bytes | None) -> bytes:
        """Return the name of a question: picture, words and all that shapes the answer, but not who is asked where."""
        shape = [question, schema, self.model, self.max_tokens, self.temperature, self.longest_side, self.extra]
        name = sha256(json.dumps(shape, sort_keys=True).encode())
        name.update(b"" if content is None else sha256(content).digest())
        return name.digest()

    def _messages(self, question: str, content: bytes | None, problems: list[tuple[str, str]]) -> list[dict[str, Any]]:
        content_parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
        if content is not None:
            content_parts.append({"type": "image_url", "image_url": {"url": data_url(content, self.longest_side)}})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content_parts}]
        for text, problem in problems:
            correction = f"That answer cannot be used: {problem}. Answer again, with the JSON object only."
            messages += [{"role": "assistant", "content": text[:LONGEST]}, {"role": "user", "content": correction}]
        return messages

    def _get(self, messages: list[dict[str, Any]], schema: Mapping[str, Any]) -> Answer:
        """Ask for one answer, which is paid for."""
        body = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            **self._line.extra,
        }
        body = {name: value for name, value in body.items() if value is not None}
        shape = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        if self._line.structured:
            try:
                return self._line.endpoint.post({**body, "response_format": shape}, self._read)
            except Unsupported:
                self._line.structured = False  # the schema is checked here in any case
        return self._line.endpoint.post(body, self._read)

    def _read(self, body: bytes) -> Answer:
        """Read an answer and its price. A malformed one is paid for all the same, as far as it says so.

        Raises:
            Malformed: If it is none.
        """
        try:
            completion = read_completion(body)
        except Malformed as error:
            if error.usage != Usage():
                self.answer_store.add(NOBODY, self._priced("", "malformed", error.usage))
            raise
        return self._priced(completion.text, completion.finish, completion.usage)

    def _priced(self, text: str, finish: str, usage: Usage) -> Answer:
        cost = (usage.prompt_tokens * self.price_in + usage.completion_tokens * self.price_out) / 1e6
        return Answer(text, finish, usage.prompt_tokens, usage.completion_tokens, cost)


def data_url(content: bytes, longest_side: int, quality: int = 90) -> str:
    """Return a picture as a JPEG in a data URL, upright and at most `longest_side` pixels; unchanged where it fits.

    Raises:
        ValueError: If the picture is broken.
    """
    if _fits(content, longest_side):
        open_upright(content, 1)  # whole, and not decoded at its full size to see so
    else:
        data = BytesIO()
        open_upright(content, longest_side)[0].save(data, "JPEG", quality=quality)
        content = data.getvalue()
    return f"data:image/jpeg;base64,{b64encode(content).decode()}"


def _fits(content: bytes, longest_side: int) -> bool:
    """True if a picture's header says that it is a JPEG that can be sent as it is."""
    try:
        with Image.open(BytesIO(content), formats=("JPEG",)) as header:
            is_upright = header.getexif().get(ExifTags.Base.Orientation, 1) == 1
            return header.mode == "RGB" and max(header.size) <= longest_side and is_upright
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error, *_TOO_LARGE):
        return False  # whoever decodes it says what is wrong


@cache
def _validator(schema: str) -> Any:
    """Build the validator of a schema, once: that takes longer than an answer's other work together."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    return Draft202012Validator(json.loads(schema))


def _use(answer: Answer, schema: Mapping[str, Any], check: Callable[[Any], Any] | None) -> Any:
    """Check an answer and return what it says."""
    if len(answer.text) > LONGEST:
        raise ValueError(f"it is {len(answer.text):,} characters long")
    if answer.finish in ("refusal", "content_filter"):
        raise Refused(f"refused: {answer.text[:100]}")
    try:
        content = first_object(answer.text)
    except Unkeepable:
        raise
    except ValueError as error:
        if refuses(answer.text):
            raise Refused(f"refused: {answer.text[:100]}") from error
        cut = f"it was cut off at {answer.completion_tokens} tokens" if answer.finish == "length" else str(error)
        raise ValueError(cut) from error
    fault = next(_validator(json.dumps(schema)).iter_errors(content), None)  # the first: there may be a million
    if fault is not None:
        raise ValueError(f"{fault.message[:200]} at {fault.json_path}")
    return content if check is None else check(content)


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"assistant.extra={text} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(  # noqa: TRY004  # a user's mistake
            f'assistant.extra={text} is no JSON object. Write it like {{"top_p": 0.9}}.'
        )
    return content
