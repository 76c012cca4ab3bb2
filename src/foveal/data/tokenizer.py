"""Token ids from texts, by CLIP's own tokenizer, packaged, or any `tokenizer.json` of a model folder."""

import gzip
import html
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from shutil import copyfile
from typing import Any, Literal

import ftfy
import numpy as np
import tokenizers
import torch
from jaxtyping import Int
from tokenizers import decoders, models, normalizers, pre_tokenizers
from torch import Tensor

from ..outside import read_object

Overflow = Literal["error", "truncate", "keep"]
Cleaning = Literal["ftfy", "nfc"]

FILE = "tokenizer.json"
_MARKS = "tokenizer_config.json"  # says beside it which marks stand around a text, and what fills rows
_VOCABULARY = Path(__file__).parent / "vocabulary" / "clip_bpe.txt.gz"
# OpenAI's code ignores case where it parts words, so that a long s (\u017f) is an s; that of `transformers` does not.
_WORDS: Mapping[Cleaning, str] = {
    "ftfy": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+",
    "nfc": r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+",
}
# The same for ASCII, in lower case. What Python alone takes for white space (\x1c to \x1f) is a sign, as it is there.
_ASCII_WORDS = re.compile(r"[a-z]+|'(?:s|t|re|ve|m|ll|d)|[0-9]|[^ \t\n\r\x0b\x0ca-z0-9]+")
# Text that neither ftfy nor HTML unescaping can change: printable ASCII without "&", and plain white space.
_CLEAN = re.compile(r"[\t\n\r -%'-~]*")
# As the tokenizer of `transformers` cleans CLIP's texts, by the library that it uses.
_NFC = normalizers.Sequence(
    [normalizers.NFC(), normalizers.Replace(tokenizers.Regex(r"\s+"), " "), normalizers.Lowercase()]
)
# Texts that show another vocabulary, another cleaning or another way to part words than CLIP's.
_PROBES = (
    *(
        "A photo of a cat.",
        "&amp; it\u2019s \u201cquoted\u201d",
        "cafe\u0301 \u212b \uff21\uff11",
        "tabs\tand\u00a0more\n  spaces",
    ),
    *(
        "don't I'LL 1234 ?!...",
        "\U0001f600\ufe0f \u4e2d\u6587",
        "sch\u00c3\u00b6n \u0130 \u03a3\u0391\u03a3",
        "a\u00ad\u200bb <b>_-",
    ),
)
_UNKNOWN = "a \u4e2d\U0010fffd"
_LARGEST_FILE = 256 << 20  # bytes of a tokenizer.json; Gemma's has 34 MB
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_REMEMBERED_WORDS = 1 << 17


@dataclass(frozen=True)
class Tokenizer:
    """Encoder of texts as token ids between start and end marks. Its fields are plain, so it crosses to workers.

    Text is only ever text: a caption that holds a literal `<|endoftext|>` gives the tokens of these
    characters, never the mark (the published tokenizers let it through, and it ends the caption early).
    Texts are encoded one by one and not in parallel threads, because threads that ran before a fork leave
    its children without them; data workers bring the parallelism.

    Attributes:
        path: A `tokenizer.json`. None: CLIP's byte-pair encoding (arXiv:2103.00020, section 2.4).
        lower: Texts are lower-cased first. CLIP's always are.
        drop_punctuation: Punctuation of ASCII is left out (SigLIP, not SigLIP 2).
        pad_to_length: Rows are as long as texts may be, as SigLIP needs, whose pooling reads the last position.
            False: rows are as long as the longest text of the batch.
        pad_id: Fills rows behind the end mark. CLIP's towers never look there.
    """

    path: Path | None = None
    lower: bool = False
    pad_to_length: bool = False
    pad_id: int = 0
    drop_punctuation: bool = False
    cleaning: Cleaning = "ftfy"

    @classmethod
    def clip(cls, cleaning: Cleaning = "ftfy") -> "Tokenizer":
        """Return CLIP's tokenizer, equal but for literal marks in the text to OpenAI's, or to that of `transformers`.

        Args:
            cleaning: OpenAI's "ftfy" or the "nfc" of `transformers`.
        """
        return cls(cleaning=cleaning)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        lower: bool = False,
        pad_to_length: bool = False,
        pad_id: int = 0,
        drop_punctuation: bool = False,
    ) -> "Tokenizer":
        """Open the tokenizer of a `tokenizer.json`.

        Args:
            path: The file, or the model folder that holds it.
            lower: Texts are lower-cased first. FG-CLIP 2 wants it.
            pad_to_length: Rows are as long as texts may be. SigLIP wants it.
            pad_id: Fills rows behind the end mark. Matters where padding is part of the text (SigLIP).
            drop_punctuation: Punctuation of ASCII is left out. SigLIP wants it.

        Raises:
            ValueError: If there is no such file, or it is no tokenizer, or it sets no end mark.
        """
        path = Path(path)
        file = path / FILE if path.is_dir() else path
        _vocabulary(file)
        return cls(file, lower, pad_to_length, pad_id, drop_punctuation)

    def save(self, folder: Path) -> None:
        """Copy the files of this tokenizer into a model folder. CLIP's has none, as every installation brings it."""
        if self.path is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for source in (self.path, self.path.with_name(_MARKS)):
            target = folder / (FILE if source == self.path else _MARKS)
            if source.is_file() and source.resolve() != target.resolve():
                copyfile(source, target)

    @property
    def eos_id(self) -> int:
        """The id of the end mark."""
        return _vocabulary(self.path, self.cleaning).suffix[-1]

    @property
    def vocabulary(self) -> int:
        """The number of token ids."""
        return _vocabulary(self.path, self.cleaning).size

    def backend(self) -> tokenizers.Tokenizer:
        """Return a tokenizer in Rust of one's own, to change and to write. CLIP's lacks OpenAI's cleaning and marks."""
        return _clip_backend(self.cleaning) if self.path is None else tokenizers.Tokenizer.from_file(str(self.path))

    def encode(self, texts: Sequence[str], length: int, overflow: Overflow = "error") -> Int[Tensor, "B L"]:
        """Encode texts as token ids, padded on the right.

        Args:
            texts: Any number of texts, also none.
            length: Most tokens that a text may have, marks included.
            overflow: What happens to longer ones: "error"; "truncate" (their last token is the end mark); "keep"
                (they stay whole, for an encoder that reads them in windows).

        Returns:
            One row per text. "a photo" gives 49406, 320, 1125, 49407 with CLIP's tokenizer.

        Raises:
            ValueError: If a text is too long and `overflow` is "error", or `length` holds no more than the marks.
        """
        vocabulary = _vocabulary(self.path, self.cleaning)
        marks = len(vocabulary.prefix) + len(vocabulary.suffix)
        if length <= marks:
            raise ValueError(f"A length of {length} leaves no room beside {marks} marks; take at least {marks + 1}.")
        rows = []
        for text, ids in zip(texts, self._ids(texts), strict=True):
            if len(ids) > length - marks and overflow == "error":
                raise ValueError(_too_long(text, len(ids) + marks, length))
            content = ids[: length - marks] if overflow == "truncate" else ids
            rows.append([*vocabulary.prefix, *content, *vocabulary.suffix])
        width = max([length if self.pad_to_length else 1, *map(len, rows)])
        padded = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        for row, ids in zip(padded, rows, strict=True):
            row[: len(ids)] = ids
        return torch.from_numpy(padded)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, marks included. 2 for an empty text with CLIP's tokenizer."""
        vocabulary = _vocabulary(self.path, self.cleaning)
        return [len(ids) + len(vocabulary.prefix) + len(vocabulary.suffix) for ids in self._ids(texts)]

    def decode(self, token_ids: Int[Tensor, "B L"]) -> list[str]:
        """Decode rows of token ids, up to the end mark. CLIP's gives words and signs parted by spaces."""
        vocabulary = _vocabulary(self.path, self.cleaning)
        texts = []
        for row in token_ids.tolist():
            ids = row[len(vocabulary.prefix) :] if tuple(row[: len(vocabulary.prefix)]) == vocabulary.prefix else row
            ids = ids[: ids.index(self.eos_id)] if self.eos_id in ids else ids
            texts.append(vocabulary.text(ids))
        return texts

    def _ids(self, texts: Sequence[str]) -> Iterable[list[int]]:
        """Return token ids of each text, without marks."""
        if isinstance(texts, str):
            raise ValueError(f"Texts come as a list, not as one string: {texts[:40]!r}.")  # noqa: TRY004
        vocabulary = _vocabulary(self.path, self.cleaning)
        return (vocabulary.ids(self._prepared(text)) for text in texts)

    def _prepared(self, text: str) -> str:
        text = text.lower() if self.lower else text
        if self.path is None:
            return _clean(text, self.cleaning)
        return " ".join(text.translate(_NO_PUNCTUATION).split()) if self.drop_punctuation else text


@dataclass(frozen=True)
class _Vocabulary:
    """The content of a `tokenizer.json`.

    Attributes:
        backend: The tokenizer in Rust.
        prefix: Marks before a text.
        suffix: Marks behind a text.
    """

    backend: tokenizers.Tokenizer
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]

    @property
    def size(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    def ids(self, text: str) -> list[int]:
        """Return token ids of a text, without marks."""
        return self.backend.encode(_whole_pairs(text), add_special_tokens=False).ids

    def text(self, ids: list[int]) -> str:
        """Return the text of token ids."""
        words = self.backend.decode(ids, skip_special_tokens=False)
        word_end = getattr(self.backend.model, "end_of_word_suffix", None)
        return (words.replace(word_end, " ") if word_end else words).strip()


@dataclass(frozen=True)
class _ClipVocabulary(_Vocabulary):
    """CLIP's vocabulary: takes clean texts, and remembers the tokens of words, over 3 times faster than Rust.

    Attributes:
        words: Token ids of words seen before.
    """

    words: dict[str, list[int]] = field(default_factory=dict)

    def ids(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in _words(text):
            ids += self.words.get(word) or self._learn(word)
        return ids

    def _learn(self, word: str) -> list[int]:
        """Encode a new word and remember it while there is room."""
        ids: list[int] = self.backend.encode(word).ids
        if len(word) <= 32 and len(self.words) < _REMEMBERED_WORDS:
            self.words[word] = ids
        return ids


def _words(text: str) -> list[str]:
    """Split a clean text into pieces that share no token: ASCII words, and whatever else lies between two spaces."""
    if text.isascii():
        return _ASCII_WORDS.findall(text)
    parts = ([part] if not part.isascii() else _ASCII_WORDS.findall(part) for part in text.split(" "))
    return [word for words in parts for word in words]


def _clean(text: str, cleaning: Cleaning) -> str:
    """Clean a text for CLIP's encoding. ftfy straightens quotes, mends broken encodings and composes letters."""
    if _CLEAN.fullmatch(text):
        return text.lower()
    if cleaning == "nfc":
        return str(_NFC.normalize_str(_whole_pairs(text)))
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def _whole_pairs(text: str) -> str:
    """Replace halves of surrogate pairs in a text, which JSON lets through and which have no UTF-8 form."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_clips(path: Path) -> bool:
    """True if a tokenizer.json is the one that `transformers` has for CLIP: "nfc" and CLIP's encoding.

    Raises:
        ValueError: If the file is broken.
    """
    vocabulary, clip = _vocabulary(path), Tokenizer.clip("nfc")
    if vocabulary.backend.get_vocab() != _vocabulary(None).backend.get_vocab():
        return False
    marked = [[*vocabulary.prefix, *vocabulary.ids(text), *vocabulary.suffix] for text in _PROBES]
    return marked == [clip.encode([text], 77)[0].tolist() for text in _PROBES]


@lru_cache(maxsize=8)
def _vocabulary(path: Path | None, cleaning: Cleaning = "ftfy") -> _Vocabulary:
    """Read once per process."""
    if path is None:
        backend = _clip_backend(cleaning)
        size = backend.get_vocab_size()
        return _ClipVocabulary(backend, (size - 2,), (size - 1,))
    if not path.is_file():
        raise ValueError(f"There is no tokenizer at {path}; a model folder holds a tokenizer.json.")
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path} has more than {_LARGEST_FILE:,} bytes, the most of a tokenizer.json. Copy it again.")
    config = _config_beside(path)
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True
        backend.encode(_UNKNOWN)  # some have no token for what they do not know, which no text would get past
        prefix, suffix = _marks_around(backend, config)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises nothing narrower, and its panics are no Exceptions
        raise ValueError(f"{path} is no tokenizer.json: {str(error).partition(chr(10))[0]}.") from error
    if not suffix:
        raise ValueError(f"{path} sets no end mark behind a text; give its post_processor one.")
    size = backend.get_vocab_size(with_added_tokens=True)
    if max(*prefix, *suffix, 0) >= size:
        raise ValueError(f"{path} sets the mark {max(*prefix, *suffix)} and has {size} tokens. Copy it again.")
    return _Vocabulary(backend, prefix, suffix)


def _marks_around(backend: tokenizers.Tokenizer, config: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the marks before and behind a text: by the config beside (Gemma's, Llama's), else by the file."""
    if config.get("add_eos_token"):
        start = _mark(backend, config, "bos_token") if config.get("add_bos_token") else None
        end = _mark(backend, config, "eos_token")
        return () if start is None else (start,), () if end is None else (end,)
    probe = backend.encode("a", add_special_tokens=True)
    marks = probe.special_tokens_mask
    content = len(backend.encode("a", add_special_tokens=False).ids)
    start_at = marks.index(0) if 0 in marks else len(marks)
    return tuple(probe.ids[:start_at]), tuple(probe.ids[start_at + content :])


def padding_id(folder: Path) -> int | None:
    """Return the id that fills the rows of a folder's tokenizer. None if neither of its files says it.

    Raises:
        ValueError: If a file is broken.
    """
    backend = _vocabulary(folder / FILE).backend
    return _mark(backend, _config_beside(folder / FILE), "pad_token")


def _mark(backend: tokenizers.Tokenizer, config: dict[str, Any], kind: str) -> int | None:
    """Return the id of a mark that a config names: a string, or an object that holds one."""
    token = config.get(kind)
    token = token.get("content") if isinstance(token, dict) else token
    return backend.token_to_id(token) if isinstance(token, str) else None


def _config_beside(path: Path) -> dict[str, Any]:
    file = path.with_name(_MARKS)
    return read_object(file) if file.is_file() else {}


def _clip_backend(cleaning: Cleaning = "ftfy") -> tokenizers.Tokenizer:
    """Build CLIP's byte-pair encoding: 256 bytes, the same as word ends, 48,894 merges, two marks."""
    with gzip.open(_VOCABULARY, "rt", encoding="utf-8") as lines:
        next(lines)
        merges = [(left, right) for left, right in map(str.split, lines)]
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    ids = {word: index for index, word in enumerate(words)}
    backend = tokenizers.Tokenizer(models.BPE(ids, merges, end_of_word_suffix="</w>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_WORDS[cleaning]), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _byte_letters() -> list[str]:
    """Return the letters that stand for bytes, in the order of their ids: printable ones first, as themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(256 - len(printable))]


def _too_long(text: str, tokens: int, length: int) -> str:
    """Return the message about a text that does not fit."""
    beginning = text if len(text) <= 60 else text[:57] + "..."
    return (
        f"Text of {tokens} tokens exceeds the length of {length}: {beginning!r}. Shorten it, cut it with "
        'overflow="truncate", or read it in windows with overflow="keep".'
    )
