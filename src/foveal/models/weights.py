"""Models on disk: a config beside its weights, ours or a public checkpoint's. Written as safetensors alone."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from pathlib import Path
from shutil import copymode
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from safetensors.torch import save_file
from torch import Tensor

from .config import ModelConfig
from .dual_encoder import DualEncoder
from .layouts import from_public
from .tensors import read_tensors

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
OPEN_CLIP = "open_clip_config.json"
_FILES = (WEIGHTS, f"{WEIGHTS}.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def save(model: DualEncoder, folder: Path) -> None:
    """Write a model's config and weights, all or nothing.

    Both files are written under other names first and brought to the disk before either takes its place, so a crash
    leaves the model that was there before.

    Args:
        model: On any device, of any precision; both are kept as they are but for the device.
        folder: Made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = {name: folder / f".{name}.partial" for name in (WEIGHTS, CONFIG)}
    try:
        state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
        save_file(state, partial[WEIGHTS], metadata={"format": "pt"})
        partial[CONFIG].write_text(json.dumps(asdict(model.config), indent=2) + "\n", encoding="utf-8")
        copymode(partial[CONFIG], partial[WEIGHTS])  # safetensors lets nobody but the owner read
        for path in partial.values():
            _flush(path)
        for name, path in partial.items():
            path.replace(folder / name)
        _flush(folder)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def load(path: Path, *, pad_id: int | None = None) -> DualEncoder:
    """A model that `save` wrote, or of a public checkpoint of one of the families in `layouts`.

    Args:
        path: As for `read`.
        pad_id: What fills texts, where the checkpoint's tokenizer says it and its config doesn't.

    Returns:
        The model on the CPU, bit for bit as it was saved; a public checkpoint in float32.

    Raises:
        ValueError: As `read` and `build`. The message begins with the path.
    """
    config, state = read(path)
    if pad_id is not None:
        config = replace(config, text=replace(config.text, pad_id=pad_id))
    with _named(path):
        return build(config, state)


def read(path: Path) -> tuple[ModelConfig, Mapping[str, Tensor]]:
    """Config and tensors of a checkpoint, as `build` needs them.

    Args:
        path: A folder of foveal, `transformers` or open_clip, with its config beside the weights (safetensors, whole
            or in shards, before pickles); or a file of OpenAI's CLIP, Long-CLIP or FineLIP, which need no config.

    Raises:
        ValueError: If a file is missing or broken, a field of the config is unknown or of another type, or the layout
            is none that is known. The message names the file, the field or the tensor.
    """
    if path.is_file():
        state = read_tensors(path)
        with _named(path):
            return from_public(state, None)
    file = next((path / name for name in candidates(path) if (path / name).exists()), path / WEIGHTS)
    config_file = path / (OPEN_CLIP if file.name.startswith("open_clip") else CONFIG)
    values = read_json(config_file) if config_file.exists() else None
    if values is None or "vision_config" in values or "model_cfg" in values:
        state = read_tensors(file)
        with _named(file):
            return from_public(state, values)
    if "model_type" in values or "architectures" in values:
        kind = values.get("model_type", values.get("architectures"))
        raise ValueError(f"{config_file} is of a model '{kind}', no pair of towers. Known are CLIP's and SigLIP's kin.")
    config: ModelConfig = parse(ModelConfig, values, str(config_file))
    return config, read_tensors(file)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Says which checkpoint it was that is not as it should be."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def candidates(folder: Path) -> tuple[str, ...]:
    """Names of the files that may hold a folder's weights, those first that its config belongs to.

    A folder may hold the weights of `transformers` and of open_clip alike, or of open_clip beside timm's.
    """
    if not (folder / OPEN_CLIP).exists():
        return _FILES
    foreign = not (folder / CONFIG).exists() or "vision_config" not in read_json(folder / CONFIG)
    return (*_OPEN_CLIP_FILES, *_FILES) if foreign else (*_FILES, *_OPEN_CLIP_FILES)


def build(config: ModelConfig, state: Mapping[str, Tensor]) -> DualEncoder:
    """A model whose parameters are these tensors: nothing is initialized or copied.

    Args:
        config: What the model is made of.
        state: A tensor for every parameter, under our names.

    Raises:
        ValueError: If the config contradicts itself, or a tensor is missing, unknown, of another shape or not finite.
    """
    try:
        with torch.device("meta"):
            model = DualEncoder(config)
    except (TypeError, ZeroDivisionError, RuntimeError) as error:
        raise ValueError(f"No model can be made of this config ({error}). Correct its numbers.") from error
    _check(state, model.state_dict())
    model.load_state_dict(state, assign=True)
    return model


def _check(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for what, names in (("missing", expected.keys() - state.keys()), ("unexpected", state.keys() - expected.keys())):
        if names:
            some = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            raise ValueError(f"{len(names)} tensors {what}: {some}. Use the weights that belong to this config.")
    for name, tensor in state.items():
        theirs, ours = tuple(tensor.shape), tuple(expected[name].shape)
        if theirs != ours:
            raise ValueError(f"Tensor {name} has shape {theirs}, the config asks for {ours}. Change one of them.")
        if not tensor.is_floating_point():
            raise ValueError(f"Tensor {name} holds {tensor.dtype}. Give floating point numbers.")
        if tensor.numel() and not all(bool(end.isfinite()) for end in tensor.aminmax()):  # 8 times as fast as isfinite
            raise ValueError(f"Tensor {name} holds NaN or infinity. Take an earlier checkpoint.")


def _flush(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        ValueError: If it is no JSON or no object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}). Copy it again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}, not an object. Copy it again.")  # noqa: TRY004
    return values


def parse(kind: Any, value: Any, where: str) -> Any:
    """A value of JSON as a value of this type: numbers, strings, tuples, choices, dataclasses.

    Args:
        kind: The type. Dataclasses are read strictly: every field must be known, and those without default be there.
        value: As `json` gives it.
        where: What errors call it.

    Raises:
        ValueError: If the value is not of this type. The message names the field.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else parse(arguments[0], value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list) and (... in arguments or len(value) == len(arguments)):
        return tuple(parse(arguments[0], each, f"{where}[{at}]") for at, each in enumerate(value))
    if is_dataclass(kind) and isinstance(value, dict):
        return _parse_fields(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is kind:
        return value
    wanted = f"one of {', '.join(arguments)}" if origin is Literal else getattr(kind, "__name__", str(kind))
    wanted = str(kind) if origin is tuple else wanted
    raise ValueError(f"{where} is {value!r}. It must be {wanted}.")


def _parse_fields(kind: Any, values: dict[str, Any], where: str) -> Any:
    types = get_type_hints(kind)
    unknown = values.keys() - types.keys()
    if unknown:
        raise ValueError(f"{where} has no field '{min(unknown)}'. It has: {', '.join(sorted(types))}.")
    for field in fields(kind):
        if field.default is MISSING and field.name not in values:
            raise ValueError(f"{where} lacks the field '{field.name}'. Add it.")
    return kind(**{name: parse(types[name], value, f"{where}: {name}") for name, value in values.items()})
