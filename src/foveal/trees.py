"""The tensors in a tree of dataclasses, mappings and lists, by name, to take batches and outputs apart and rebuild."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


def tensors_of(tree: Any) -> dict[str, Tensor]:
    """Return all tensors of a tree, named by their way down, such as "texts.caption.embedding"."""
    return {path: member for path, member in _leaves(tree) if isinstance(member, Tensor)}


def with_tensors(tree: T, tensors: Mapping[str, Tensor]) -> T:
    """Return the tree with other tensors in place of those that are named as `tensors_of` names them."""
    return cast(T, _replaced(tree, tensors, ""))


def to_device(tree: T, device: torch.device) -> T:
    """Return the tree with its tensors on a device."""
    return with_tensors(tree, {name: tensor.to(device, non_blocking=True) for name, tensor in tensors_of(tree).items()})


def _leaves(node: Any, path: str = "") -> list[tuple[str, Any]]:
    members = _members(node)
    if members is None:
        return [(path, node)]
    return [leaf for name, member in members.items() for leaf in _leaves(member, _joined(path, name))]


def _replaced(node: Any, tensors: Mapping[str, Tensor], path: str) -> Any:
    members = _members(node)
    if members is None:
        return tensors.get(path, node)
    members = {name: _replaced(member, tensors, _joined(path, name)) for name, member in members.items()}
    if is_dataclass(node):
        return replace(cast(Any, node), **members)
    if isinstance(node, Mapping):
        return members
    return type(node)(*members.values()) if hasattr(node, "_fields") else type(node)(members.values())


def _members(node: Any) -> dict[str, Any] | None:
    """Return the members one step down. None below a leaf."""
    if is_dataclass(node):
        return {field.name: getattr(node, field.name) for field in fields(node)}
    if isinstance(node, list | tuple):
        return {str(number): member for number, member in enumerate(node)}
    return dict(node) if isinstance(node, Mapping) else None


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
