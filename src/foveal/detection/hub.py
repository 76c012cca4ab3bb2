"""Detectors of `transformers`, loaded once a process, from safetensors only, without running code of theirs."""

from functools import cache
from typing import Any

import torch

MISSING = 'Detectors need transformers. Run: pip install "foveal[detect]".'


@cache
def open_detector(name: str, device: str | None) -> tuple[Any, Any, str]:
    """Return model, tokenizer and device of a detector on the hub or in a folder.

    Raises:
        ValueError: If transformers is not installed, or there is no such detector.
    """
    try:
        from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer
    except ImportError as error:
        raise ValueError(MISSING) from error
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    opener: Any = AutoTokenizer  # its types are not written down
    try:
        model = AutoModelForZeroShotObjectDetection.from_pretrained(name, use_safetensors=True)
        tokenizer = opener.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Detector '{name}' cannot be loaded ({str(error).splitlines()[0]})."
            " Give dense, owlv2, llmdet_tiny, or a detector of transformers: a folder or a hub name."
        ) from error
    return model.eval().to(place), tokenizer, place
