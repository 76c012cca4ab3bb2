"""A tokenizer as files for other programs, with all it does to a text inside."""

import json
from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, processors

from .tokenizer import Tokenizer

_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""


def whole(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """Return a tokenizer in Rust that prepares texts and sets marks by itself, as ours does around it.

    CLIP's lacks OpenAI's mending of broken encodings and HTML entities, as that of `transformers` does.
    """
    backend = tokenizer.backend()
    steps: list[normalizers.Normalizer] = []
    if tokenizer.path is None:
        steps += [normalizers.NFC(), normalizers.Replace(tokenizers.Regex(r"\s+"), " "), normalizers.Lowercase()]
    if tokenizer.lower:
        steps.append(normalizers.Lowercase())
    if tokenizer.drop_punctuation:
        steps += [normalizers.Replace(tokenizers.Regex(_PUNCTUATION), "")]
        steps += [normalizers.Replace(tokenizers.Regex(r"\s+"), " "), normalizers.Strip()]
    if steps:
        backend.normalizer = normalizers.Sequence([*steps, *([backend.normalizer] if backend.normalizer else [])])
    ids = tokenizer.encode([""], 8)[0, : tokenizer.count([""])[0]].tolist()
    marks = [backend.id_to_token(mark) or "" for mark in ids]
    named = list(dict(zip(marks, ids, strict=True)).items())
    single = " ".join([*marks[:-1], "$A", marks[-1]])
    backend.add_special_tokens(list(dict.fromkeys(marks)))
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=named)
    return backend


def write(tokenizer: Tokenizer, folder: Path, length: int) -> None:
    """Write tokenizer.json, its config, and vocab.json with merges.txt where it pairs bytes.

    Args:
        tokenizer: Ours.
        folder: Made if it is not there.
        length: Most tokens of a text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backend = whole(tokenizer)
    backend.save(str(folder / "tokenizer.json"))
    if isinstance(backend.model, models.BPE):
        backend.model.save(str(folder))
    clip = tokenizer.path is None
    end = backend.id_to_token(tokenizer.eos_id)
    start = backend.id_to_token(int(tokenizer.encode([""], 8)[0, 0]))
    # CLIP's towers never look at padding, and the published files fill texts with their end.
    pad = end if clip else backend.id_to_token(tokenizer.pad_id)
    marks = {"eos_token": end, "pad_token": pad, "unk_token": end if clip else pad}
    marks |= {"bos_token": start} if start != end else {}
    config = {
        "tokenizer_class": "CLIPTokenizer" if clip else "PreTrainedTokenizerFast",
        "model_max_length": length,
        "clean_up_tokenization_spaces": False,
    }
    for name, values in (("tokenizer_config.json", config | marks), ("special_tokens_map.json", marks)):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
