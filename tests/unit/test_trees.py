from dataclasses import dataclass
from typing import NamedTuple

import torch

from foveal.trees import tensors_of, to_device, with_tensors
from foveal.types import PatchedPixels


@dataclass(frozen=True)
class Leaf:
    rows: torch.Tensor
    name: str = "leaf"
    nothing: torch.Tensor | None = None


@dataclass(frozen=True)
class Tree:
    rows: torch.Tensor
    leaves: dict[str, Leaf]


TREE = Tree(torch.zeros(1), {"a": Leaf(torch.ones(2)), "b": Leaf(torch.full((3,), 2.0), "other", torch.ones(1))})


def test_tensors_are_named_by_their_way_down_in_order():
    assert list(tensors_of(TREE)) == ["rows", "leaves.a.rows", "leaves.b.rows", "leaves.b.nothing"]
    assert tensors_of(TREE)["leaves.b.rows"] is TREE.leaves["b"].rows


def test_what_is_named_is_replaced_and_the_rest_is_kept():
    other = with_tensors(TREE, {"leaves.a.rows": torch.zeros(5)})
    assert other.leaves["a"].rows.shape == (5,)
    assert (other.leaves["a"].name, other.leaves["b"].name) == ("leaf", "other")
    assert other.rows is TREE.rows
    assert TREE.leaves["a"].rows.shape == (2,)


def test_taken_apart_and_put_together_it_is_the_same():
    again = with_tensors(TREE, tensors_of(TREE))
    assert all(tensors_of(again)[name] is tensor for name, tensor in tensors_of(TREE).items())


def test_all_tensors_move_to_a_device():
    moved = to_device(TREE, torch.device("meta"))
    assert {tensor.device.type for tensor in tensors_of(moved).values()} == {"meta"}
    patched = PatchedPixels(torch.zeros(1, 4, 3), torch.ones(1, 4, dtype=torch.bool), torch.tensor([[2, 2]]))
    assert to_device(patched, torch.device("meta")).grid.device.type == "meta"


class Pair(NamedTuple):
    rows: torch.Tensor
    name: str


def test_lists_tuples_and_named_tuples_are_trees_too():
    tree = {"list": [torch.zeros(1), "a"], "pair": Pair(torch.ones(1), "b"), "ids": ("c", "d")}
    assert list(tensors_of(tree)) == ["list.0", "pair.0"]
    other = with_tensors(tree, {"pair.0": torch.zeros(3)})
    assert isinstance(other["pair"], Pair)
    assert (other["pair"].rows.shape, other["pair"].name, other["ids"]) == ((3,), "b", ("c", "d"))
    assert other["list"][0] is tree["list"][0]
