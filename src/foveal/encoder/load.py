"""One function that opens every checkpoint: a folder, a file, or a name on the Hugging Face hub."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from ..models.parts import TRUSTED_MODULES
from .checkpoint import CARD, Checkpoint, datasets_of, licence_of, read
from .encoder import Encoder
from .hub import fetch
from .precision import Precision, dtype_of

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_STARTER = "starter"


def load(
    name_or_path: str | Path,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | Precision | None = None,
    parts_from: Sequence[str] = TRUSTED_MODULES,
) -> Encoder:
    """Return the encoder of any checkpoint that foveal knows, ready to use. Nothing of it is executed.

    Folders of foveal, of `transformers` (CLIP, SigLIP, SigLIP 2, and the layouts of FG-CLIP 1 and 2) and of open_clip;
    files of OpenAI's CLIP, Long-CLIP and FineLIP; the same by name from the Hugging Face hub. The family is recognised
    by config and tensors, every tensor must be known and fit, and pictures and texts are prepared as the family's
    published numbers need it.

    Args:
        name_or_path: A folder, a file, a hub name such as "openai/clip-vit-base-patch16", or "starter": a small model
            made of packages, for first steps (a folder of that name is "./starter").
        revision: Branch, tag or commit on the hub. None: what is newest; `Encoder.protocol.revision` says which it was.
        device: Where the model runs. None: on the GPU if there is one.
        dtype: torch.bfloat16 or "bf16" computes two to three times as fast where the processor has it, all but equal;
            "auto" takes it there. None: float32, as "fp32".
        parts_from: Modules whose learned parts may be opened, with all below them. Of others no code is run.

    Raises:
        ValueError: If nothing is there, it is of an unknown family, or files or tensors are broken. The message names
            them.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    precision = dtype_of(dtype, place) if isinstance(dtype, str) else dtype or torch.float32
    starter = name_or_path == _STARTER
    local = starter or Path(name_or_path).exists()
    if revision is not None and local:
        raise ValueError(f"{name_or_path} is on this machine and has no revisions. Leave out '{revision}'.")
    if starter:
        from .starter import load_starter

        return load_starter(place, precision)
    checkpoint = read(Path(name_or_path), parts_from) if local else _from_hub(str(name_or_path), revision)
    model = checkpoint.model.eval().to(place)
    transform = checkpoint.protocol.transform(model.config.vision)
    return Encoder(model, checkpoint.tokenizer, transform, protocol=checkpoint.protocol, dtype=precision)


@cache
def load_once(name: str, device: str | None = None) -> Encoder:
    """Return the encoder of a name or path, the same one whenever it is asked for again in this process.

    Raises:
        ValueError: As `load`.
    """
    return load(name, device=device)


def _from_hub(name: str, revision: str | None) -> Checkpoint:
    if not _HUB_NAME.fullmatch(name):
        raise ValueError(f"There is no {name}, neither a folder nor a file, and hub names look like owner/name.")
    folder, commit = fetch(name, revision)
    checkpoint = read(folder)
    protocol = replace(checkpoint.protocol, source=name, revision=commit)
    licence, training = protocol.licence or licence_of(folder / CARD), protocol.training or datasets_of(folder / CARD)
    return replace(checkpoint, protocol=replace(protocol, licence=licence, training=training))
