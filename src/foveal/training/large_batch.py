"""Large batches in small memory: a batch in micro-batches, with the gradient of the whole.

Contrastive losses need every image of a batch at once, so micro-batches can't simply be added up. GradCache
(arXiv:2101.06983) first computes all embeddings without keeping activations, takes the loss's gradient at the
embeddings, and then carries it through the model one micro-batch at a time.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..types import Batch, Output, PatchedPixels

Terms = dict[str, Tensor]

# Numbers of the model, the same in every micro-batch.
SHARED = ("scale", "region_scale", "negative_scale", "bias")
TOKEN_SETS = tuple(field.name for field in fields(Output) if field.name.endswith(("_tokens", "_token_mask")))
# Rows that name the row of another field they belong to.
OWNER = {"region_image": "image", "negative_region": "regions", "caption_negative_image": "image"}


def backward(
    model: Callable[[Batch], Output], batches: list[Batch], objective: Callable[[Output], Terms]
) -> tuple[Terms, Output]:
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
    """
    with nullcontext() if len(batches) == 1 else torch.no_grad():
        outputs = [model(batch) for batch in batches]
    whole = _leaves(join(outputs))
    terms = objective(whole)
    leaves = {name: leaf for name, leaf in _tensors(whole).items() if leaf.requires_grad}
    total = torch.stack([*terms.values()]).sum()
    found = torch.autograd.grad(total, [*leaves.values()], allow_unused=True, materialize_grads=True)
    shares = _shares(dict(zip(leaves, found, strict=True)), outputs)
    for batch, share in zip(batches, shares, strict=True):
        with _without_averaging(model, share is not shares[-1]):
            _carry(outputs[0] if len(batches) == 1 else model(batch), share)
    return {name: term.detach() for name, term in terms.items()}, _detached(whole)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Micro-batches of neighboring images, each with its own regions and near misses.

    Args:
        batch: A rank's batch.
        parts: Of how many micro-batches; at most as many as there are images.

    Raises:
        ValueError: If there are fewer images than parts.
    """
    if parts == 1:
        return [batch]
    images = len(batch.ids)
    if parts > images:
        raise ValueError(
            f"A batch of {images} images can't be split into {parts}. Use --set machine.micro_batches={images}."
        )
    bounds = [images * part // parts for part in range(parts + 1)]
    return [_take(batch, start, end) for start, end in pairwise(bounds)]


def join(outputs: list[Output]) -> Output:
    """The output of a whole batch from those of its micro-batches, with half precision raised to single.

    Token sets are padded to the longest; rows that name other rows are renumbered.
    """
    found: dict[str, Tensor | None] = {}
    for field in fields(Output):
        values = [getattr(output, field.name) for output in outputs]
        if any(value is None for value in values):
            found[field.name] = None
        elif field.name in SHARED:
            found[field.name] = values[-1]
        else:
            found[field.name] = torch.cat(_aligned(field.name, values, outputs))
    return Output(**{name: _single(value) for name, value in found.items()})  # type: ignore[arg-type]


def _take(batch: Batch, start: int, end: int) -> Batch:
    """The images from `start` to `end` and all that belongs to them."""
    rows: dict[str, Any] = {"ids": batch.ids[start:end]}
    pixels = batch.pixels
    if isinstance(pixels, PatchedPixels):
        rows["pixels"] = PatchedPixels(pixels.values[start:end], pixels.mask[start:end], pixels.grid[start:end])
    else:
        rows["pixels"] = pixels[start:end]
    for name in ("caption_ids", "long_caption_ids"):
        value = getattr(batch, name)
        rows[name] = None if value is None else value[start:end]
    if batch.region_image is not None:
        regions = _within(batch.region_image, start, end)
        rows["region_image"] = batch.region_image[regions] - start
        for name in ("boxes", "phrase_ids", "phrase_key"):
            value = getattr(batch, name)
            rows[name] = None if value is None else value[regions]
        if batch.negative_region is not None and batch.negative_ids is not None:
            renumbered = torch.full_like(batch.region_image, -1)
            renumbered[regions] = torch.arange(len(regions), device=regions.device)
            owner = renumbered[batch.negative_region]
            rows["negative_ids"], rows["negative_region"] = batch.negative_ids[owner >= 0], owner[owner >= 0]
    if batch.caption_negative_image is not None and batch.caption_negative_ids is not None:
        negatives = _within(batch.caption_negative_image, start, end)
        rows["caption_negative_ids"] = batch.caption_negative_ids[negatives]
        rows["caption_negative_image"] = batch.caption_negative_image[negatives] - start
    return Batch(**rows)


def _within(owner: Tensor, start: int, end: int) -> Tensor:
    return ((owner >= start) & (owner < end)).nonzero()[:, 0]


def _aligned(name: str, values: list[Tensor], outputs: list[Output]) -> list[Tensor]:
    """One field of each output, ready to be concatenated."""
    if name in OWNER:
        counts = [len(getattr(output, OWNER[name])) for output in outputs]
        return [value + sum(counts[:number]) for number, value in enumerate(values)]
    if name in TOKEN_SETS:
        widest = max(value.shape[1] for value in values)
        return [F.pad(value, (*(0, 0) * (value.ndim - 2), 0, widest - value.shape[1])) for value in values]
    return values


def _shares(gradients: dict[str, Tensor], outputs: list[Output]) -> list[dict[str, Tensor]]:
    """Each micro-batch's share of the gradients. What all have in common goes to the last one."""
    shares: list[dict[str, Tensor]] = [{} for _ in outputs]
    for name, gradient in gradients.items():
        if name in SHARED:
            shares[-1][name] = gradient
            continue
        members = [getattr(output, name) for output in outputs]
        pieces = gradient.split([len(member) for member in members])
        for share, piece, member in zip(shares, pieces, members, strict=True):
            share[name] = piece[:, : member.shape[1]]
    return shares


def _carry(output: Output, gradients: dict[str, Tensor]) -> None:
    """Carry the gradient at an output into the parameters."""
    # Outputs that do not depend on parameters (a bias the model does not have) have no graph.
    pairs = [(tensor, gradients[name]) for name, tensor in _tensors(output).items() if name in gradients]
    pairs = [(tensor, gradient.to(tensor.dtype)) for tensor, gradient in pairs if tensor.requires_grad]
    torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])


def _without_averaging(model: Any, wanted: bool) -> AbstractContextManager[None]:
    """DistributedDataParallel averages gradients once a step, in the last micro-batch."""
    return model.no_sync() if wanted and hasattr(model, "no_sync") else nullcontext()


def _single(tensor: Tensor | None) -> Tensor | None:
    half = tensor is not None and tensor.dtype in (torch.bfloat16, torch.float16)
    return tensor.float() if half and tensor is not None else tensor


def _tensors(output: Output) -> dict[str, Tensor]:
    named = {field.name: getattr(output, field.name) for field in fields(output)}
    return {name: value for name, value in named.items() if value is not None}


def _leaves(output: Output) -> Output:
    """The output cut off from the model, collecting gradients."""
    tensors = _tensors(output).items()
    return replace(output, **{name: t.detach().requires_grad_(t.is_floating_point()) for name, t in tensors})


def _detached(output: Output) -> Output:
    return replace(output, **{name: tensor.detach() for name, tensor in _tensors(output).items()})
