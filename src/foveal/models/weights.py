"""Models on disk: a config beside its weights, in foveal's layout or a public one. Written as safetensors alone."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..configuration import parse
from ..outside import read_object, shown
from ..writing import flush
from . import frozen
from .adapters import merged
from .config import ModelConfig, check
from .dual_encoder import DualEncoder
from .layouts import from_public, is_open_clip, is_openai, needs_no_config
from .parts import TRUSTED_MODULES, part_rows, read_parts
from .starter_towers import from_networks
from .tensors import read_tensors, write_tensors

log = logging.getLogger(__name__)

Source = Literal["foveal", "transformers", "open_clip", "openai"]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
OPEN_CLIP = "open_clip_config.json"
_KEEPING_SHAPE = (
    *(nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_),
    *(Tensor.normal_, Tensor.uniform_, Tensor.mul, Tensor.__mul__, Tensor.log),
)
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
        write_tensors(partial[WEIGHTS], model.state_dict())
        partial[CONFIG].write_text(_config_text(model.config), encoding="utf-8")
        for path in partial.values():
            flush(path)
        for name, path in partial.items():
            path.replace(folder / name)
        flush(folder)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def save_config(config: ModelConfig, folder: Path) -> None:
    """Write a model's config alone, into a folder that is there."""
    (folder / CONFIG).write_text(_config_text(config), encoding="utf-8")


def _config_text(config: ModelConfig) -> str:
    return json.dumps({**asdict(config), "parts": part_rows(config.parts)}, indent=2) + "\n"


@dataclass(frozen=True)
class Stored:
    """A model as its files hold it, not yet built.

    Attributes:
        config: What it is made of.
        state: A tensor for every parameter, under our names.
        source: Whose names and config the files have.
        folder: Where what belongs to them lies, see `folder_of`.
    """

    config: ModelConfig
    state: Mapping[str, Tensor]
    source: Source
    folder: Path | None


def load(path: Path, parts_from: Sequence[str] = TRUSTED_MODULES) -> DualEncoder:
    """Return a model that `save` wrote, or that of a public checkpoint of one of the families in `layouts`.

    Args:
        path: As for `read`.
        parts_from: As for `read`.

    Returns:
        The model on the CPU, bit for bit as it was saved; a public checkpoint in float32.

    Raises:
        ValueError: As `read` and `build`. The message begins with the path.
    """
    stored = read(path, parts_from)
    with named(path):
        return build(stored.config, stored.state)


def read(path: Path, parts_from: Sequence[str] = TRUSTED_MODULES) -> Stored:
    """Return config and tensors of a checkpoint, as `build` needs them.

    Args:
        path: A folder of foveal, `transformers` or open_clip, with its config beside the weights (safetensors, whole
            or in shards, before pickles); or a file of weights. Where the config that belongs to a file lies beside it,
            the file is read with it. Files that need none: OpenAI's CLIP, Long-CLIP and FineLIP.
        parts_from: Modules whose learned parts may be opened, see `parts.read_parts`.

    Raises:
        ValueError: If a file is missing or broken, a field of the config is unknown, of another type or size, or the
            layout is none that is known. The message names the file, the field or the tensor.
    """
    file = _whole(path) if path.is_file() else _weights_of(path)
    state = merged(read_tensors(file) | frozen.read(file.parent))
    config_file = _config_of(file, state)
    if config_file is None:
        return Stored(*_read_openai(file, state), "openai", None if path.is_file() else path)
    values = read_object(config_file)
    if "vision_config" in values or is_open_clip(values):
        source: Source = "open_clip" if is_open_clip(values) else "transformers"
        return Stored(*_mapped(file, state, values), source, file.parent)
    if "model_type" in values or "architectures" in values:
        kind = shown(values.get("model_type", values.get("architectures")))
        raise ValueError(f"{config_file} is of a model {kind}, no pair of towers. Known are CLIP's and SigLIP's kin.")
    parts = read_parts(values.pop("parts", []), str(config_file), parts_from)
    config: ModelConfig = replace(parse(ModelConfig, values, str(config_file)), parts=parts)
    if (config.vision.tower, config.text.tower) == ("efficientnet_lite0", "minilm"):
        with named(file):
            state = from_networks(state)
    return Stored(config, state, "foveal", file.parent)


def _weights_of(folder: Path) -> Path:
    return next((folder / name for name in candidates(folder) if (folder / name).is_file()), folder / WEIGHTS)


def _whole(file: Path) -> Path:
    """Return the index beside a file that is one of several shards, else the file."""
    stem = re.fullmatch(r"(.+)-\d+-of-\d+(\.\w+)", file.name)
    index = file.with_name(f"{stem[1]}{stem[2]}.index.json") if stem else file
    return index if index.is_file() else file


def folder_of(path: Path) -> Path | None:
    """Return the folder in which config, preprocessing and tokenizer of a checkpoint lie.

    Args:
        path: As for `read`.

    Returns:
        None for a file that needs no config, or has none beside it.

    Raises:
        ValueError: If a file is broken.
    """
    if not path.is_file():
        return path
    return None if _config_of(path, read_tensors(path)) is None else path.parent


def _config_of(file: Path, state: Mapping[str, Tensor]) -> Path | None:
    """Return the config beside a file of weights that belongs to its tensors, as their names show. None: there is none.

    A folder may hold the weights of `transformers` and of open_clip alike.
    """
    config, open_clip_config = file.with_name(CONFIG), file.with_name(OPEN_CLIP)
    if not is_openai(state):
        return config if config.is_file() else None
    if needs_no_config(state):
        return None
    if open_clip_config.is_file():
        return open_clip_config
    return config if config.is_file() and is_open_clip(read_object(config)) else None


def _read_openai(file: Path, state: Mapping[str, Tensor]) -> tuple[ModelConfig, Mapping[str, Tensor]]:
    """Read a file without a config: only OpenAI's layout needs none."""
    with named(file):
        if is_openai(state) and not needs_no_config(state) and file.name.startswith("open_clip"):
            raise ValueError(f"open_clip's weights need their {OPEN_CLIP}. Put it beside them.")
    config, tensors = _mapped(file, state, None)
    if not needs_no_config(state):
        log.warning(
            "%s is read as OpenAI's: its sizes are those of a published model. If open_clip made it, put its %s beside"
            " it, which says activation and heads.",
            file,
            OPEN_CLIP,
        )
    return config, tensors


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Say which checkpoint it was that is not as it should be."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _mapped(
    file: Path, state: Mapping[str, Tensor], config: Mapping[str, Any] | None
) -> tuple[ModelConfig, dict[str, Tensor]]:
    with named(file):
        try:
            return from_public(state, config)
        except (RuntimeError, IndexError, TypeError, ArithmeticError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"Its tensors have shapes of no layout known here ({reason}). Copy it again.") from error


def candidates(folder: Path) -> tuple[str, ...]:
    """Return names of the files that may hold a folder's weights, those first that its config belongs to.

    A folder may hold the weights of `transformers` and of open_clip alike, or of open_clip beside timm's.
    """
    config = read_object(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if not (folder / OPEN_CLIP).is_file():
        return _FILES
    return (*_FILES, *_OPEN_CLIP_FILES) if "vision_config" in config else (*_OPEN_CLIP_FILES, *_FILES)


def build(config: ModelConfig, state: Mapping[str, Tensor], *, finite: bool = False) -> DualEncoder:
    """Return a model whose parameters are these tensors: nothing is initialized or copied.

    Args:
        config: What the model is made of.
        state: A tensor for every parameter, under our names.
        finite: All numbers are known to be finite, and are not read for that.

    Raises:
        ValueError: If the config contradicts itself or has numbers that no model has, or a tensor is missing, unknown,
            of another shape or not finite.
    """
    check(config)
    try:
        with torch.device("meta"), _WithoutNumbers():
            model = DualEncoder(config)
    except (TypeError, ZeroDivisionError, RuntimeError) as error:
        raise ValueError(f"No model can be made of this config ({error}). Correct its numbers.") from error
    _check(state, model.state_dict(), finite=finite)
    model.load_state_dict(state, assign=True)
    return model


class _WithoutNumbers(TorchFunctionMode):
    """Leaves numbers of new modules out. On the device "meta", which holds none, torch loads its compiler for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, unless it does nothing but draw or scale numbers."""
        keywords = kwargs or {}
        if func in _KEEPING_SHAPE and not any(isinstance(value, Tensor) for value in args[1:]):
            return args[0] if args else keywords["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **keywords)


def _check(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, finite: bool) -> None:
    for problem, names in (("missing", expected.keys() - state.keys()), ("unexpected", state.keys() - expected.keys())):
        if names:
            listed = ", ".join(shown(name)[1:-1] for name in sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            raise ValueError(f"{len(names)} tensors {problem}: {listed}. Use the weights that belong to this config.")
    for name, tensor in state.items():
        shape, expected_shape, subject = tuple(tensor.shape), tuple(expected[name].shape), f"Tensor {shown(name)[1:-1]}"
        if shape != expected_shape:
            raise ValueError(f"{subject} has shape {shape}, the config asks for {expected_shape}. Change one of them.")
        if not tensor.is_floating_point():
            raise ValueError(f"{subject} holds {tensor.dtype}. Give floating point numbers.")
        if (
            not finite and tensor.numel() and not all(bool(end.isfinite()) for end in tensor.aminmax())
        ):  # 8 times as fast as isfinite
            raise ValueError(f"{subject} holds NaN or infinity. Take an earlier checkpoint.")
