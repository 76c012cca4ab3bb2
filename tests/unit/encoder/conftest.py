"""Makers of public checkpoints, and of pictures and tokenizers to go with them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ("a", "red", "cat", "dog", "on", "tile", "small", "the")


@pytest.fixture(scope="session")
def layouts():
    """The test of layouts, whose makers of tiny public checkpoints serve here too."""
    path = Path(__file__).parents[1] / "models" / "test_layouts.py"
    spec = importlib.util.spec_from_file_location("makers_of_layouts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def photos():
    """Pictures of three aspects, smooth as photos are."""
    pictures = []
    for seed, size in enumerate([(50, 37), (40, 40), (33, 90)]):
        colors = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
        pictures.append(Image.fromarray(colors).resize(size, Image.Resampling.BICUBIC))
    return pictures


@pytest.fixture
def write_tokenizer():
    """Writes a tokenizer of few words as Gemma's is published: its marks stand in the config beside it."""

    def write(folder: Path, pad: str = "<pad>") -> Tokenizer:
        vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3}
        vocabulary |= {word: 4 + place for place, word in enumerate(WORDS)}
        backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
        backend.save(str(folder / "tokenizer.json"))
        marks = {"add_bos_token": False, "add_eos_token": True, "bos_token": "<bos>", "eos_token": {"content": "<eos>"}}
        (folder / "tokenizer_config.json").write_text(json.dumps(marks | {"pad_token": pad}))
        return backend

    return write


def padded(backend: Tokenizer, texts: list[str], length: int, pad: int = 0) -> torch.Tensor:
    """Token ids as SigLIP reads them: the end mark, then padding to the full length."""
    rows = torch.full((len(texts), length), pad)
    for row, text in zip(rows, texts, strict=True):
        ids = [*backend.encode(text).ids[: length - 1], 1]
        row[: len(ids)] = torch.tensor(ids)
    return rows


@pytest.fixture
def pad_to():
    return padded
