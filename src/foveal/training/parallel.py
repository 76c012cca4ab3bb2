"""Many processes as one: their ranks, sharded weights, and values from every rank."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..distributed import ALONE, World
from ..trees import tensors_of, with_tensors

T = TypeVar("T")


@contextmanager
def processes() -> Iterator[tuple[World, torch.device]]:
    """Yield this process's world and device, as torchrun's environment says; alone where there is none.

    Uses NCCL where there are CUDA devices, one to a process, and gloo elsewhere.
    """
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE, device
        return
    dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    try:
        yield World(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


def wrapped(model: nn.Module, kind: Literal["ddp", "fsdp"], world: World) -> nn.Module:
    """Wrap a model as every rank trains it, gradients averaged over ranks. Alone, the model itself.

    Args:
        model: The same weights on every rank.
        kind: "ddp": everyone has all weights. "fsdp": everyone has a share of each block's and gathers
            a block when it is its turn (arXiv:2304.11277).
        world: The ranks.
    """
    if world.size == 1:
        return model
    if kind == "fsdp":
        return _shard(model)
    # A batch without long captions does not use their positions: such parameters must not stall the averaging.
    # Where there are none, torch says once on standard error that the search takes time.
    model.register_forward_hook(_with_graph)
    return DistributedDataParallel(model, find_unused_parameters=True)


def average_whole_gradients(model: nn.Module, world: World) -> None:
    """Average over ranks the gradients that sharding leaves alone, those of scalars."""
    if world.size > 1 and not isinstance(model, DistributedDataParallel):
        for parameter in _scalars(model):
            if parameter.grad is not None:
                parameter.grad = world.mean(parameter.grad)


def is_sharded(tensor: Tensor) -> bool:
    """True if a rank holds only its share of a tensor, as of a DTensor, whose import takes seconds."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Gather a tensor with every rank's share. Every rank must ask."""
    full: Tensor = cast(Any, tensor).full_tensor() if is_sharded(tensor) else tensor
    return full


def share(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the share of a whole tensor that a rank holds of `like`."""
    tensor = tensor.to(like.device)
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    sharded = cast(Any, like)
    return distribute_tensor(tensor, sharded.device_mesh, sharded.placements)


def of_every_rank(value: T, world: World) -> list[T]:
    """Gather any value of each rank, in rank order."""
    everyone: list[T] = [value] * world.size
    if world.size > 1:
        dist.all_gather_object(everyone, value)
    return everyone


def of_first_rank(work: Callable[[], T], world: World) -> T:
    """Do `work` on the first rank alone and return its result. Where it fails, every rank fails with its words.

    Raises:
        ValueError: If `work` raises one, or an OSError.
    """
    if world.size == 1:
        return work()
    answer: tuple[T | None, str] = (None, "")
    if world.rank == 0:
        try:
            answer = work(), ""
        except (OSError, ValueError) as error:
            answer = None, str(error)
    value, problem = of_every_rank(answer, world)[0]
    if problem:
        raise ValueError(problem)
    return cast(T, value)


def wait_for_all(world: World) -> None:
    """Go on when every rank is here."""
    if world.size > 1:
        dist.barrier()


def _shard(model: nn.Module) -> nn.Module:
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    scalars = set(_scalars(model))
    blocks = [block for blocks in model.modules() if isinstance(blocks, nn.ModuleList) for block in blocks]
    for block in blocks:
        fully_shard(block)
        for door in ("without_attention", "forward_edges"):  # other ways into the last block
            if hasattr(block, door):
                register_fsdp_forward_method(block, door)
    fully_shard(model, ignored_params=scalars)
    return model


def _with_graph(_model: nn.Module, _inputs: Any, output: T) -> T:
    """Copy outputs that are parameters (a bias): DDP looks for parameters behind outputs and takes them for unused."""
    bare = {name: value.clone() for name, value in tensors_of(output).items() if isinstance(value, nn.Parameter)}
    return with_tensors(output, bare)


def _scalars(model: nn.Module) -> list[nn.Parameter]:
    """Return parameters of one number without dimensions, which can't be sharded."""
    return [parameter for parameter in model.parameters() if parameter.ndim == 0]
