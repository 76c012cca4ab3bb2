"""Models on disk: a config beside its weights, ours or a public checkpoint's. Only safetensors, never a pickle."""

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from shutil import copymode
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .config import ModelConfig
from .dual_encoder import DualEncoder
from .layouts import from_public

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


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


def load(folder: Path) -> DualEncoder:
    """A model from a folder that `save` wrote, or that holds a public checkpoint of one of the families in `layouts`.

    Args:
        folder: Holds config.json (OpenAI's layout needs none) and model.safetensors.

    Returns:
        The model on the CPU, bit for bit as it was saved; a public checkpoint in float32.

    Raises:
        ValueError: If a file is missing or broken, if a field of the config or a tensor is missing, unknown or of
            another shape, or if a tensor holds NaN or infinity. The message names the file and the field or tensor.
    """
    state = _read_weights(folder / WEIGHTS)
    values = _read_json(folder / CONFIG) if (folder / CONFIG).exists() else None
    try:
        if values is not None and "vision_config" not in values:
            config: ModelConfig = _parse(ModelConfig, values, CONFIG)
        else:
            config, state = from_public(state, values)
        return build(config, state)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


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


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ValueError(f"There is no {path}. Name a folder that holds a model.") from error
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error}). Copy it again, or convert it.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}). Copy it again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds {type(values).__name__}, not an object. Copy it again.")  # noqa: TRY004
    return values


def _parse(kind: Any, value: Any, where: str) -> Any:
    """A value of JSON as a value of this type. Errors name the field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else _parse(arguments[0], value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_parse(arguments[0], each, f"{where}[{at}]") for at, each in enumerate(value))
    if is_dataclass(kind) and isinstance(value, dict):
        return _parse_fields(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is kind:
        return value
    wanted = f"one of {', '.join(arguments)}" if origin is Literal else getattr(kind, "__name__", str(kind))
    raise ValueError(f"{where} is {value!r}. It must be {wanted}.")


def _parse_fields(kind: Any, values: dict[str, Any], where: str) -> Any:
    types = get_type_hints(kind)
    unknown = values.keys() - types.keys()
    if unknown:
        raise ValueError(f"{where} has no field '{min(unknown)}'. It has: {', '.join(sorted(types))}.")
    for field in fields(kind):
        if field.default is MISSING and field.name not in values:
            raise ValueError(f"{where} lacks the field '{field.name}'. Add it.")
    return kind(**{name: _parse(types[name], value, f"{where}: {name}") for name, value in values.items()})
