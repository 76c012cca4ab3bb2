"""Checkpoints: whole or not there at all, free of pickle, and enough to go on bit for bit.

A checkpoint is a folder `step-000123` with the model's weights (`model.safetensors`), beside its config where the
model has one, so that it is a model folder; and all else that a training carries as tensors (`training.safetensors`)
and the tree they hang in (`training.json`). Last comes `hashes.json`, with the size and the SHA-256 of every other
file. The folder is written beside its place and renamed when everything is on the disk.
"""

import base64
import json
import logging
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..encoder.protocol import FILE as PROTOCOL
from ..models.frozen import FrozenWeights
from ..models.frozen import read as read_frozen
from ..models.tensors import write_tensors
from ..models.weights import WEIGHTS
from ..writing import flush, replacing
from .run import ConfiguredModel, Trainable

log = logging.getLogger(__name__)

T = TypeVar("T")

TENSORS = "training.safetensors"
TREE = "training.json"
HASHES = "hashes.json"
NAME = re.compile(r"step-\d{6,}")
UNFINISHED = ".unfinished"
BESIDE = (PROTOCOL, "tokenizer.json", "tokenizer_config.json")  # of the folder of results, for every model in it


def save(
    folder: Path,
    step: int,
    model: Trainable,
    tensors: Mapping[str, Tensor],
    state: Any,
    *,
    frozen: FrozenWeights | None = None,
    keep: int = 2,
) -> Path:
    """Write a checkpoint and remove old ones. One that is there already is left as it is.

    Args:
        folder: Where the checkpoints lie, in the folder of results.
        step: Updates done.
        model: What is trained.
        tensors: The weights by name, on the CPU.
        state: All else: a tree of dictionaries, lists, tuples, tensors, numbers, strings and bytes.
        frozen: Weights that are stored elsewhere, and not in `tensors`.
        keep: How many checkpoints are left.

    Returns:
        The checkpoint's folder.

    Raises:
        ValueError: If a weight is not finite, or it can't be written, most often because the disk is full. Older ones
            stay whole.
    """
    place = folder / f"step-{step:06d}"
    if place.is_dir():
        return place
    clean(folder)
    _check_finite(step, tensors)
    written = place.with_name(place.name + UNFINISHED)
    try:
        written.mkdir(parents=True)
        _write_weights(written, place, model, tensors, frozen)
        _write_tree(written, state)
        copy_beside(folder.parent, written)
        _write_hashes(written)
        written.rename(place)
        flush(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(written, ignore_errors=True)
        last = latest(folder)
        older = f"{last.name} is whole: free space and resume" if last else "There is no older one"
        raise ValueError(f"Checkpoint {place} can't be written: {error}. {older}.") from error
    for old in _finished(folder)[:-keep]:
        shutil.rmtree(old)
    return place


def copy_beside(results: Path, model: Path) -> None:
    """Copy what the folder of results has for every model in it: how its data is prepared, and its tokenizer."""
    for name in BESIDE:
        if (results / name).is_file():
            shutil.copyfile(results / name, model / name)


def replace_folder(new: Path, place: Path) -> None:
    """Put a folder in the place of another one."""
    old = place.with_name(f"{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def load(checkpoint: Path) -> tuple[dict[str, Tensor], Any]:
    """Load the weights, frozen ones among them, and the rest of a checkpoint, on the CPU.

    Raises:
        ValueError: If a file can't be read, or frozen weights are not where they were. The message names it.
    """
    tensors = _opened(checkpoint / TENSORS, load_file)
    tree = _opened(checkpoint / TREE, _read_json)
    state = tree["state"] if "hashed" in tree else tree  # without: written before there were hashes
    try:
        return _opened(checkpoint / WEIGHTS, load_file) | read_frozen(checkpoint), _hang(state, tensors)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{TREE} can't be read: it does not fit {TENSORS} ({error})") from error


def damage(checkpoint: Path) -> str:
    """Return the damage of a checkpoint: one of its files, and how it differs from what was written.

    Empty if nothing is. Without hashes, as checkpoints were written once, whatever can be opened passes.
    """
    try:
        if (checkpoint / HASHES).exists():
            return _mismatch(checkpoint)
        if "hashed" in _opened(checkpoint / TREE, _read_json):
            return f"{HASHES} is missing"
        load(checkpoint)
    except (OSError, ValueError) as error:
        return str(error)
    log.warning("%s was written without hashes: whether its files are as they were can't be checked.", checkpoint)
    return ""


def last_whole(folder: Path) -> Path | None:
    """Return the last checkpoint of a folder after a check of all its files. None if there is none.

    Raises:
        ValueError: If it is damaged. The message says how to go on from the last one before it that is whole.
    """
    damaged: dict[Path, str] = {}
    for place in reversed(_finished(folder)):
        problem = damage(place)
        if not problem and not damaged:
            return place
        if not problem:
            raise ValueError(_refusal(damaged, place))
        damaged[place] = problem
    if damaged:
        raise ValueError(_refusal(damaged, None))
    return None


def check(model: Path) -> None:
    """Refuse a model folder that is a checkpoint and no longer holds what was written. Others have no hashes.

    Raises:
        ValueError: If a file is damaged. The message names it.
    """
    problem = damage(model) if (model / HASHES).is_file() else ""
    if problem:
        raise ValueError(f"Checkpoint {model} is damaged: {problem}. Begin from another one.")


def latest(folder: Path) -> Path | None:
    """Return the last finished checkpoint of a folder."""
    return max(_finished(folder), default=None, key=_step)


def clean(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for unfinished in folder.glob(f"step-*{UNFINISHED}"):
        shutil.rmtree(unfinished)


def save_model(model: Trainable, module: nn.Module, folder: Path) -> None:
    """Write a trained module into a folder that may hold other things.

    Raises:
        ValueError: If they can't be written. What was there before is whole.
    """
    try:
        model.save(module, folder)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"The model can't be written to {folder}: {error}. Free space and resume.") from error


def save_referring(folder: Path, model: Trainable, tensors: Mapping[str, Tensor], frozen: FrozenWeights | None) -> None:
    """Write a trained model that refers to its frozen weights into a folder that may hold other things.

    Raises:
        ValueError: If it can't be written.
    """
    written = folder / f"model{UNFINISHED}"
    shutil.rmtree(written, ignore_errors=True)
    try:
        written.mkdir()
        _write_weights(written, folder, model, tensors, frozen)
        for file in sorted(written.iterdir()):  # the weights come last
            flush(file)
            file.replace(folder / file.name)
        written.rmdir()
    except (OSError, SafetensorError) as error:
        raise ValueError(f"The model can't be written to {folder}: {error}. Free space and resume.") from error


def write_text(path: Path, text: str) -> None:
    """Write a file that is whole or not there at all."""
    with replacing(path, durable=True) as partial:
        partial.write_text(text, encoding="utf-8")


def _finished(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("step-*") if NAME.fullmatch(path.name)), key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _check_finite(step: int, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel() and not all(bool(end.isfinite()) for end in tensor.aminmax()):
            raise ValueError(f"Step {step}: {name} holds NaN or infinity. Go on from an earlier checkpoint, slower.")


def _write_weights(
    folder: Path, place: Path, model: Trainable, tensors: Mapping[str, Tensor], frozen: FrozenWeights | None
) -> None:
    """Write the weights, where the frozen ones are, and the config that makes them a model folder.

    Args:
        folder: That is written to.
        place: Of it in the end.
        model: What is trained.
        tensors: The weights by name.
        frozen: Those that are not in `tensors`.
    """
    write_tensors(folder / WEIGHTS, tensors)
    if isinstance(model, ConfiguredModel):
        model.save_config(folder)
    if frozen is not None:
        frozen.refer(folder, place)


def _write_tree(folder: Path, state: Any) -> None:
    tensors: dict[str, Tensor] = {}
    tree = _take_down(state, "", tensors)
    save_file(tensors, folder / TENSORS)
    (folder / TREE).write_text(json.dumps({"hashed": True, "state": tree}), encoding="utf-8")


def _write_hashes(folder: Path) -> None:
    """Write down what every file holds, and wait until all are on the disk. Hashes are made while the disk writes."""
    files = sorted(folder.iterdir())
    with ThreadPoolExecutor(2 * len(files)) as pool:
        synced, hashes = pool.map(flush, files), pool.map(_hash, files)
        pairs = zip(files, hashes, strict=True)
        table = {file.name: {"bytes": file.stat().st_size, "sha256": digest} for file, digest in pairs}
        list(synced)  # raises what a thread raised
    write_text(folder / HASHES, json.dumps({"files": table, "sha256": _hash_of_table(table)}, indent=2) + "\n")


def _refusal(damaged: dict[Path, str], whole: Path | None) -> str:
    """Explain why a training is not resumed from its last checkpoint, and how it is from the last whole one."""
    last, problem = next(iter(damaged.items()))
    removal = shlex.join(["rm", "-r", *map(str, damaged)])
    way = "No older one is whole: start again in another folder"
    if whole is not None:
        way = f"{whole.name} beside it is whole: to go on from there, {removal}, then --resume"
    return f"Checkpoint {last} is damaged: {problem}. {way}."


def _mismatch(checkpoint: Path) -> str:
    """Return the first file that is not as its hash says, and why; empty if all are."""
    content = _opened(checkpoint / HASHES, _read_json)
    table = content.get("files")
    if not isinstance(table, dict) or content.get("sha256") != _hash_of_table(table):
        return f"{HASHES} is not what was written"
    for name, written in table.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != written["bytes"]:
            return f"{name} has {file.stat().st_size:,} bytes, {written['bytes']:,} were written"
        if _hash(file) != written["sha256"]:
            return f"{name} is not what was written (its SHA-256 is another)"
    return ""


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def _hash_of_table(table: dict[str, Any]) -> str:
    return sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _opened(file: Path, read: Callable[[Path], T]) -> T:
    """Return the content of a checkpoint's file."""
    try:
        return read(file)
    except FileNotFoundError as error:
        raise ValueError(f"{file.name} is missing") from error
    except (OSError, RecursionError, SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"{file.name} can't be read ({error})") from error


def _read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError("it holds no object")
    return content


def _take_down(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Convert a tree to JSON, its tensors put aside. What JSON does not know becomes {"kind of thing": content}."""
    if isinstance(node, bool | int | float | str | None):
        return node
    if isinstance(node, Tensor):
        tensors[path] = node.detach().cpu().contiguous().clone()  # clone: safetensors refuses shared memory
        return {"tensor": path}
    if isinstance(node, bytes):
        return {"bytes": base64.b64encode(node).decode()}
    if isinstance(node, list | tuple):
        members = [_take_down(member, f"{path}/{number}", tensors) for number, member in enumerate(node)]
        return members if isinstance(node, list) else {"tuple": members}
    if isinstance(node, dict):
        return {"dict": [[key, _take_down(member, f"{path}/{key}", tensors)] for key, member in node.items()]}
    raise TypeError(f"A checkpoint can't hold the {type(node).__name__} at {path}.")


def _hang(node: Any, tensors: dict[str, Tensor]) -> Any:
    """Rebuild the tree as it was."""
    if isinstance(node, list):
        return [_hang(member, tensors) for member in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "tuple":
        return tuple(_hang(member, tensors) for member in content)
    return {key: _hang(member, tensors) for key, member in content}
