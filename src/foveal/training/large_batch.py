"""Large batches in small memory: a batch in micro-batches, with the gradient of the whole.

Contrastive losses need every image of a batch at once, so micro-batches can't simply be added up. GradCache
(arXiv:2101.06983) first computes all embeddings without keeping activations, takes the loss's gradient at the
embeddings, and then carries it through the model one micro-batch at a time.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..trees import tensors_of, with_tensors
from ..types import Batch, Output, PatchedPixels, TextRows
from .run import SplittingBatch

T = TypeVar("T")
Terms = dict[str, Tensor]

# What is the model's, the same in every micro-batch: its scales, and what its learned parts give.
SHARED = ("scale", "region_scale", "negative_scale", "bias", "parts.")


def backward(model: Callable[[Any], Any], batches: list[Any], objective: Callable[[Any], Terms]) -> tuple[Terms, Any]:
    """Add the gradient of the objective on all micro-batches together to the parameters' gradients.

    With one micro-batch this is the plain forward and backward pass. With more, the model runs twice on each,
    so it must be free of chance (dropout). An output that the objective leaves unused gets a zero gradient, so
    every parameter the model used takes part in the averaging over ranks.

    Args:
        model: Called on one micro-batch at a time.
        batches: The micro-batches of this rank's batch, see `split`.
        objective: Gives the terms of the whole. Where it raises, no gradient has been touched.

    Returns:
        The terms and the whole output, without graph.

    Raises:
        ValueError: If the output is a module's own and there are several micro-batches, or it has no gradient.
    """
    with nullcontext() if len(batches) == 1 else torch.no_grad():
        outputs = [model(batch) for batch in batches]
    whole = _leaves(join(outputs))
    terms = objective(whole)
    leaves = {name: leaf for name, leaf in tensors_of(whole).items() if leaf.requires_grad}
    if not leaves:
        raise ValueError(
            f"The module gave a {type(whole).__name__} without tensors of floating point in dataclasses, mappings or"
            " lists. Return such a one."
        )
    total = torch.stack([*terms.values()]).sum()
    gradients = torch.autograd.grad(total, [*leaves.values()], allow_unused=True, materialize_grads=True)
    shares = _shares(dict(zip(leaves, gradients, strict=True)), outputs)
    for batch, share in zip(batches, shares, strict=True):
        with _without_averaging(model, share is not shares[-1]):
            _carry(outputs[0] if len(batches) == 1 else model(batch), share)
    return {name: term.detach() for name, term in terms.items()}, _detached(whole)


def accumulate(model: Callable[[Any], Any], batches: list[Any], objective: Callable[[Any], Terms]) -> tuple[Terms, Any]:
    """Add the gradient of an additive objective on all micro-batches together to the parameters' gradients.

    Args:
        model: As for `backward`; it runs once on each.
        batches: The micro-batches of this rank's batch. Each counts by its samples.
        objective: Gives the terms of one, means over its samples.

    Returns:
        The terms of the whole, and the last output, without graph.
    """
    count = sum(len(batch.ids) for batch in batches)
    terms: Terms = {}
    output: Any = None
    for batch in batches:
        weighted = partial(_weighted, objective, len(batch.ids) / count)
        with _without_averaging(model, batch is not batches[-1]):
            shares, output = backward(model, [batch], weighted)
        terms |= {name: terms[name] + share if name in terms else share for name, share in shares.items()}
    return terms, output


def _weighted(objective: Callable[[Any], Terms], weight: float, output: Any) -> Terms:
    return {name: weight * term for name, term in objective(output).items()}


def split(batch: Any, parts: int) -> list[Any]:
    """Split a batch into micro-batches of neighboring images, each with its own regions and hard negatives.

    Args:
        batch: A rank's batch; one of another kind than `types.Batch` splits itself.
        parts: Of how many micro-batches; at most as many as there are images.

    Raises:
        ValueError: If there are fewer images than parts, or the batch can't be split.
    """
    if parts == 1:
        return [batch]
    if isinstance(batch, SplittingBatch):
        return batch.split(parts)
    if not isinstance(batch, Batch):
        raise ValueError(  # noqa: TRY004 -- it is a setting that does not fit
            f"A {type(batch).__name__} has no 'split', so machine.micro_batches={parts} can't be. Give it one, or use"
            " --set machine.micro_batches=1."
        )
    images = len(batch.ids)
    if parts > images:
        raise ValueError(
            f"A batch of {images} images can't be split into {parts}. Use --set machine.micro_batches={images}."
        )
    bounds = [images * part // parts for part in range(parts + 1)]
    return [_take(batch, start, end) for start, end in pairwise(bounds)]


def join(outputs: list[Any]) -> Any:
    """Join the outputs of micro-batches to that of the whole batch, with half precision raised to single.

    Token sets are padded to the longest; rows that name other rows are renumbered.

    Raises:
        ValueError: If there are several, and they are no `Output`.
    """
    if len(outputs) == 1:
        return with_tensors(outputs[0], {name: _single(tensor) for name, tensor in tensors_of(outputs[0]).items()})
    if not isinstance(outputs[0], Output):
        raise ValueError(  # noqa: TRY004 -- it is a setting that does not fit
            f"Micro-batches of a {type(outputs[0]).__name__} can't be joined. Use --set machine.micro_batches=1, or, if"
            " the objective's terms are means over samples, give it `additive = True`."
        )
    parts = [tensors_of(output) for output in outputs]
    joined = {
        name: parts[-1][name] if name.startswith(SHARED) else torch.cat(_aligned(name, parts, outputs))
        for name in parts[0]
    }
    return with_tensors(outputs[0], {name: _single(tensor) for name, tensor in joined.items()})


def _take(batch: Batch, start: int, end: int) -> Batch:
    """Return the images from `start` to `end` and all that belongs to them."""
    rows: dict[str, Any] = {"ids": batch.ids[start:end]}
    pixels = batch.pixels
    if isinstance(pixels, PatchedPixels):
        rows["pixels"] = PatchedPixels(pixels.values[start:end], pixels.mask[start:end], pixels.grid[start:end])
    else:
        rows["pixels"] = pixels[start:end]
    device = next((texts.owner.device for texts in batch.texts.values()), None)
    members = {"image": torch.arange(start, end, device=device)}
    if batch.region_image is not None and batch.boxes is not None:
        members["region"] = _within(batch.region_image, start, end)
        rows["region_image"] = batch.region_image[members["region"]] - start
        rows["boxes"] = batch.boxes[members["region"]]
    counts = {"image": len(batch.ids), "region": 0 if batch.boxes is None else len(batch.boxes)}
    rows["texts"] = {name: _owned(texts, members[texts.of], counts[texts.of]) for name, texts in batch.texts.items()}
    return Batch(**rows)


def _owned(texts: TextRows, owners: Tensor, count: int) -> TextRows:
    """Return the texts of a group that belong to these of all `count` owners."""
    renumbered = torch.full((count,), -1, device=owners.device)
    renumbered[owners] = torch.arange(len(owners), device=owners.device)
    owner = renumbered[texts.owner]
    rows = {name: tensor[owner >= 0] for name, tensor in tensors_of(texts).items()}
    return with_tensors(texts, {**rows, "owner": owner[owner >= 0]})


def _within(owner: Tensor, start: int, end: int) -> Tensor:
    return ((owner >= start) & (owner < end)).nonzero()[:, 0]


def _aligned(name: str, parts: list[dict[str, Tensor]], outputs: list[Output]) -> list[Tensor]:
    """Return one tensor of each output, ready to be concatenated."""
    values = [part[name] for part in parts]
    if name == "region_image" or name.endswith(".owner"):
        group = name.split(".")[1] if "." in name else ""
        of_regions = bool(group) and outputs[0].texts[group].of == "region"
        counts = [len(part["regions" if of_regions else "image"]) for part in parts]
        return [value + sum(counts[:number]) for number, value in enumerate(values)]
    if name.endswith(("tokens", "token_mask")):
        widest = max(value.shape[1] for value in values)
        return [F.pad(value, (*(0, 0) * (value.ndim - 2), 0, widest - value.shape[1])) for value in values]
    return values


def _shares(gradients: dict[str, Tensor], outputs: list[Any]) -> list[dict[str, Tensor]]:
    """Split the gradients by micro-batch. What all have in common goes to the last one."""
    if len(outputs) == 1:
        return [gradients]
    shares: list[dict[str, Tensor]] = [{} for _ in outputs]
    parts = [tensors_of(output) for output in outputs]
    for name, gradient in gradients.items():
        if name.startswith(SHARED):
            shares[-1][name] = gradient
            continue
        members = [part[name] for part in parts]
        pieces = gradient.split([len(member) for member in members])
        for share, piece, member in zip(shares, pieces, members, strict=True):
            share[name] = piece[:, : member.shape[1]]
    return shares


def _carry(output: Any, gradients: dict[str, Tensor]) -> None:
    """Carry the gradient at an output into the parameters."""
    # Outputs that do not depend on parameters (a bias the model does not have) have no graph.
    pairs = [(tensor, gradients[name]) for name, tensor in tensors_of(output).items() if name in gradients]
    pairs = [(tensor, gradient.to(tensor.dtype)) for tensor, gradient in pairs if tensor.requires_grad]
    torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])


def _without_averaging(model: Any, postpone: bool) -> AbstractContextManager[None]:
    """Postpone DistributedDataParallel's averaging, which comes once a step, in the last micro-batch."""
    return model.no_sync() if postpone and hasattr(model, "no_sync") else nullcontext()


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _leaves(output: T) -> T:
    """Cut the output off from the model, so that it collects gradients."""
    leaves = {name: tensor.detach() for name, tensor in tensors_of(output).items()}
    for leaf in leaves.values():
        leaf.requires_grad_(leaf.is_floating_point())
    return with_tensors(output, leaves)


def _detached(output: T) -> T:
    return with_tensors(output, {name: tensor.detach() for name, tensor in tensors_of(output).items()})
