"""The transformer that both towers are made of, over packed sequences: no layer ever sees padding."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .config import Activation, TowerConfig

# Sequences at least this share as long as the longest of their group are attended to together. Where a call is dear
# (a GPU), some padding inside attention, a small part of a tower's work, costs less than many small calls. On a CPU
# calls are cheap, and only sequences of one length share one: 1.07 times as fast for long captions.
GROUP_RATIO = 0.7
CPU_GROUP_RATIO = 1.0
# Without gradients a CPU takes so many tokens through all blocks before the next ones: what one layer writes is in its
# caches when the next reads it, and comes from memory that was used before, where larger pieces are fresh ones each
# time, filled with zeros by the system. 1.2 times as fast for pictures.
CPU_TOKENS = 1600
QUICK_GELU = 1.702


@dataclass(frozen=True)
class Group:
    """Neighboring sequences of similar length, attended to in one call.

    Attributes:
        start: Where the group begins in the flat row of tokens.
        stop: Where it ends.
        count: Number of sequences.
        length: Of the longest.
        slots: For each token of the group its place among padded rows. None if all are of one length.
        mask: True where a padded slot is real.
    """

    start: int
    stop: int
    count: int
    length: int
    slots: Int[Tensor, " t"] | None = None
    mask: Bool[Tensor, "n l"] | None = None


@dataclass(frozen=True)
class Packing:
    """Where each sequence lies in a flat row of tokens.

    Sequences are ordered by falling length, so that those of similar length are neighbours. What goes in and
    comes out (`pad`, `first`) is in the caller's order.

    Attributes:
        groups: Neighbours attended to together.
        starts: First token of each sequence, in the caller's order.
        lengths: Of each sequence, in the caller's order.
        order: For each place in the flat row of sequences, the caller's row it came from.
    """

    groups: tuple[Group, ...]
    starts: Int[Tensor, " B"]
    lengths: Int[Tensor, " B"]
    order: Int[Tensor, " B"]

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, *, ratio: float | None = None) -> "Packing":
        """Return the packing of sequences of these lengths.

        Args:
            lengths: Of each sequence.
            device: Where they are.
            ratio: Of the shortest to the longest sequence of a group, at least. None: what suits the device.

        Raises:
            ValueError: If a sequence is empty.
        """
        if min(lengths, default=1) < 1:
            raise ValueError(f"Sequence {lengths.index(min(lengths))} is empty. Give it one token at least.")
        if ratio is None:
            ratio = CPU_GROUP_RATIO if device.type == "cpu" else GROUP_RATIO
        order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        ordered = [lengths[row] for row in order]
        starts, begin = [0] * len(lengths), 0
        for row, length in zip(order, ordered, strict=True):
            starts[row] = begin
            begin += length
        groups, token = [], 0
        for first, last in pairwise(_boundaries(ordered, ratio)):
            group = _group(ordered[first:last], token, device)
            groups.append(group)
            token = group.stop
        return cls(tuple(groups), *(torch.tensor(x, dtype=torch.long, device=device) for x in (starts, lengths, order)))

    @property
    def total(self) -> int:
        """Tokens of all sequences together."""
        return self.groups[-1].stop if self.groups else 0

    def take(self, padded: Tensor) -> Tensor:
        """Return the real tokens of padded rows (B, L, ...) as one flat row (T, ...)."""
        return padded[self.rows(), self.positions()]

    def pad(self, flat: Float[Tensor, "T W"]) -> tuple[Float[Tensor, "B L W"], Bool[Tensor, "B L"]]:
        """Return rows of equal length, zero where padded, and a mask that is True where they are real."""
        longest = self.groups[0].length if self.groups else 0
        mask = torch.arange(longest, device=flat.device) < self.lengths[:, None]  # (B, L)
        slots = self.rows() * longest + self.positions()
        padded = flat.new_zeros(mask.numel(), flat.shape[1]).index_copy(0, slots, flat)
        return padded.unflatten(0, mask.shape), mask

    def last(self, flat: Float[Tensor, "T W"]) -> Float[Tensor, "B W"]:
        """Return the last token of every sequence."""
        return flat.index_select(0, self.starts + self.lengths - 1)

    def portions(self, most: int) -> Iterator[tuple[slice, "Packing"]]:
        """Return runs of whole sequences as packings of their own, and where each lies in the flat row.

        Args:
            most: Tokens of a run, unless a sequence or a group of unequal ones is longer alone.
        """
        lengths, row = self.lengths[self.order], 0
        for groups in _runs(self.groups, most):
            begin, count = groups[0].start, sum(group.count for group in groups)
            moved = tuple(replace(group, start=group.start - begin, stop=group.stop - begin) for group in groups)
            portion = lengths[row : row + count]
            order = torch.arange(count, device=portion.device)
            yield slice(begin, groups[-1].stop), Packing(moved, portion.cumsum(0) - portion, portion, order)
            row += count

    def edges(self, *, last: bool) -> Int[Tensor, " B"]:
        """Return the first or the last token of every sequence, in the order of the flat row."""
        starts = self.starts[self.order]
        return starts + self.lengths[self.order] - 1 if last else starts

    def restore(self, rows: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        """Return one row per sequence in the caller's order, from the order of the flat row."""
        return torch.empty_like(rows).index_copy(0, self.order, rows)

    def rows(self) -> Int[Tensor, " T"]:
        """Return the caller's row that each token belongs to."""
        return torch.repeat_interleave(self.order, self.lengths[self.order], output_size=self.total)

    def positions(self) -> Int[Tensor, " T"]:
        """Return each token's place in its own sequence."""
        starts, lengths = self.starts[self.order], self.lengths[self.order]
        begin = torch.repeat_interleave(starts, lengths, output_size=self.total)
        return torch.arange(self.total, device=begin.device) - begin


def _boundaries(ordered: list[int], ratio: float) -> list[int]:
    """Return where groups begin and end in a falling list of lengths."""
    bounds = [0]
    for row, length in enumerate(ordered):
        if length < ratio * ordered[bounds[-1]]:
            bounds.append(row)
    return [*bounds, len(ordered)] if ordered else []


def _runs(groups: tuple[Group, ...], most: int) -> Iterator[tuple[Group, ...]]:
    """Yield neighboring groups of at most so many tokens; groups of one length are cut where that is needed."""
    run: list[Group] = []
    for group in groups:
        step = max(1, most // group.length) if group.mask is None else group.count
        for first in range(0, group.count, step):
            count = min(step, group.count - first)
            start = group.start + first * group.length
            part = group if count == group.count else Group(start, start + count * group.length, count, group.length)
            if run and part.stop - run[0].start > most:
                yield tuple(run)
                run = []
            run.append(part)
    if run:
        yield tuple(run)


def _group(lengths: list[int], start: int, device: torch.device) -> Group:
    longest, count, total = lengths[0], len(lengths), sum(lengths)
    if total == longest * count:
        return Group(start, start + total, count, longest)
    sizes = torch.tensor(lengths, device=device)
    column = torch.arange(longest, device=device)
    mask = column < sizes[:, None]
    slots = torch.arange(longest * count, device=device)[mask.flatten()]
    return Group(start, start + total, count, longest, slots, mask)


def uniform(count: int, length: int, device: torch.device) -> Packing:
    """Return the packing of `count` sequences of one length: the flat row is the batch, flattened."""
    starts = torch.arange(count, device=device) * length
    lengths = torch.full_like(starts, length)
    groups = (Group(0, count * length, count, length),) if count else ()
    return Packing(groups, starts, lengths, torch.arange(count, device=device))


def portions(x: Float[Tensor, "T W"], packing: Packing) -> Iterable[tuple[slice, Packing]]:
    """Return runs of sequences to take through all blocks one after another, see `CPU_TOKENS`: where each lies in x."""
    if not torch.compiler.is_compiling() and x.device.type == "cpu" and not torch.is_grad_enabled():
        return packing.portions(CPU_TOKENS)
    return ((slice(None), packing),)


def activate(x: Tensor, activation: Activation | Literal["silu"]) -> Tensor:
    """Apply the MLP's non-linearity. QuickGELU is x * sigmoid(1.702 x).

    Without gradients the result may take x's place. "silu" is what is left of QuickGELU where its factor is part of the
    weights, see `inference.for_inference`.
    """
    in_place = not torch.is_grad_enabled()  # fresh memory is dear, see `CPU_TOKENS`
    if activation == "silu":
        return F.silu(x, inplace=in_place)
    if activation == "quick_gelu":  # as SiLU it takes fewer passes over memory, and keeps one tensor for backward
        scaled = x.mul_(QUICK_GELU) if in_place else QUICK_GELU * x
        return F.silu(scaled, inplace=in_place).mul_(1 / QUICK_GELU)
    return F.gelu(x, approximate="tanh" if activation == "tanh_gelu" else "none")


def row_map(linear: nn.Module) -> Callable[[Tensor, int, int | None], Tensor]:
    """Return a function of x, start and stop that gives some rows of a linear map, such as keys and values alone.

    A map with an adapter gives them itself. Others that stand in for a plain one (8 bits, packed) compute all rows:
    what they call a weight is not what they apply.
    """
    if hasattr(linear, "rows"):
        return cast(Any, linear).rows
    if type(linear) is not nn.Linear:
        return lambda x, start, stop: linear(x)[..., start:stop]
    return lambda x, start, stop: F.linear(x, linear.weight[start:stop], linear.bias[start:stop])


class Attention(nn.Module):
    """Multi-head self-attention over packed sequences."""

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"Width {width} is not a multiple of {heads} heads. Change one of them.")
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "T W"], packing: Packing) -> Float[Tensor, "T W"]:
        """Let every token attend to those of its own sequence."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (T, 3, H, d)
        mixed = [self._attend(qkv[group.start : group.stop], group) for group in packing.groups]
        flat = mixed[0] if len(mixed) == 1 else torch.cat([*mixed, qkv[:0, 0]])
        return self.out(flat.flatten(1))

    def forward_edges(
        self, x: Float[Tensor, "T W"], packing: Packing, edges: Int[Tensor, " B"]
    ) -> Float[Tensor, "B W"]:
        """Let the first or last token of every sequence attend to all of it; the others give only keys and values.

        Args:
            x: All tokens.
            packing: Where each sequence lies.
            edges: Its token that attends, see `Packing.edges`; if attention is causal, the last.
        """
        width = x.shape[1]
        rows = row_map(self.qkv)
        query = rows(x.index_select(0, edges), 0, width).unflatten(-1, (self.heads, 1, -1))
        pairs = rows(x, width, None).unflatten(-1, (2, self.heads, -1))  # (T, 2, H, d)
        mixed, row = [query[:0, :, 0]], 0
        for group in packing.groups:
            key, value = self._rows(pairs[group.start : group.stop], group).permute(2, 0, 3, 1, 4)
            mask = None if group.mask is None else group.mask[:, None, None]
            edge_query = query[row : row + group.count]  # (n, H, 1, d)
            mixed.append(F.scaled_dot_product_attention(edge_query, key, value, attn_mask=mask)[:, :, 0])
            row += group.count
        return self.out(torch.cat(mixed).flatten(1))

    def _rows(self, flat: Float[Tensor, "t k H d"], group: Group) -> Float[Tensor, "n l k H d"]:
        """Return the sequences of a group, padded to one length."""
        if group.slots is not None:  # copies to distinct places: so is backward, where indexing would add up
            flat = flat.new_zeros(group.count * group.length, *flat.shape[1:]).index_copy(0, group.slots, flat)
        return flat.unflatten(0, (group.count, group.length))

    def _attend(self, qkv: Float[Tensor, "t 3 H d"], group: Group) -> Float[Tensor, "t H d"]:
        query, key, value = self._rows(qkv, group).permute(2, 0, 3, 1, 4)  # each (n, H, l, d)
        # On the right, padding is out of sight of every real token if attention is causal.
        mask = None if group.mask is None or self.causal else group.mask[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=self.causal)
        rows = mixed.transpose(1, 2).flatten(0, 1)  # (n * l, H, d)
        return rows if group.slots is None else rows.index_select(0, group.slots)

    def value(self, x: Float[Tensor, "*t W"]) -> Float[Tensor, "*t W"]:
        """Return the output of attention if each token attended to itself alone."""
        return self.out(row_map(self.qkv)(x, 2 * x.shape[-1], None))


class MLP(nn.Module):
    """Two linear maps with a non-linearity between them."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.activation: Activation | Literal["silu"] = activation
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*t W"]) -> Float[Tensor, "*t W"]:
        """Apply both maps to each token by itself."""
        return self.fc2(activate(self.fc1(x), self.activation))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: TowerConfig, *, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, config.norm_eps)
        self.attention = Attention(config.width, config.heads, causal=causal)
        self.norm2 = nn.LayerNorm(config.width, config.norm_eps)
        self.mlp = MLP(config.width, config.mlp_width, config.activation)

    def forward(self, x: Float[Tensor, "T W"], packing: Packing) -> Float[Tensor, "T W"]:
        """Add attention, then the MLP, to the residual stream."""
        x = x + self.attention(self.norm1(x), packing)
        return x + self.mlp(self.norm2(x))

    def forward_edges(
        self, x: Float[Tensor, "T W"], packing: Packing, edges: Int[Tensor, " B"]
    ) -> Float[Tensor, "B W"]:
        """Return the output for one token of each sequence: a fifth of the work. See `Attention.forward_edges`."""
        hidden = x.index_select(0, edges) + self.attention.forward_edges(self.norm1(x), packing, edges)
        return hidden + self.mlp(self.norm2(hidden))

    def without_attention(self, x: Float[Tensor, "*t W"]) -> Float[Tensor, "*t W"]:
        """Run the block with its attention map replaced by the identity.

        FG-CLIP reads dense features from the last block so (arXiv:2505.05071, section 3.1, after MaskCLIP):
        value and output projection, residual and MLP stay, tokens no longer mix.
        """
        x = x + self.attention.value(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A stack of blocks.

    Attributes:
        recompute: Keep only each block's input for the backward pass and compute the rest again.
    """

    def __init__(self, config: TowerConfig, *, causal: bool = False) -> None:
        super().__init__()
        blocks = [Block(config, causal=causal) for _ in range(config.layers)]
        _initialize(blocks, config)
        self.blocks = nn.ModuleList(blocks)
        self.recompute = False

    def forward(self, x: Float[Tensor, "T W"], packing: Packing) -> tuple[Float[Tensor, "T W"], Float[Tensor, "T W"]]:
        """Return the output of the last block, and its input."""
        out, before = self.outputs(x, packing, (len(self.blocks) - 1, len(self.blocks) - 2))
        return out, before

    def outputs(
        self, x: Float[Tensor, "T W"], packing: Packing, blocks: Sequence[int]
    ) -> tuple[Float[Tensor, "T W"], ...]:
        """Return the output of chosen blocks, in one pass.

        A hook on a block sees a part of the tokens only, see `CPU_TOKENS`.

        Args:
            x: All tokens.
            packing: Where each sequence lies.
            blocks: Numbers of blocks, the first is 0; -1 is the input of the first.
        """
        parts = [self._through(x[where], part, blocks) for where, part in portions(x, packing)]
        if len(parts) == 1:
            return parts[0]
        return tuple(torch.cat(outputs) for outputs in zip(*parts, strict=True)) if parts else (x,) * len(blocks)

    def edges(self, x: Float[Tensor, "T W"], packing: Packing, *, last: bool) -> Float[Tensor, "B W"]:
        """Return the first or last token of each sequence as it comes out of the last block, which does no other work.

        Args:
            x: All tokens.
            packing: Where each sequence lies.
            last: Which token is wanted; the last one if attention is causal.

        Returns:
            In the caller's order. What `forward` gives at these tokens.
        """
        parts = [self._edges(x[where], part, last=last) for where, part in portions(x, packing)]
        return packing.restore(torch.cat(parts)) if parts else x

    def _through(self, x: Tensor, packing: Packing, blocks: Sequence[int]) -> tuple[Tensor, ...]:
        outputs = {-1: x}
        for number, block in enumerate(self.blocks):
            x = self._run(block, x, packing)
            if number in blocks:
                outputs[number] = x
        return tuple(outputs[number] for number in blocks)

    def _edges(self, x: Tensor, packing: Packing, *, last: bool) -> Tensor:
        *earlier, final = self.blocks
        for block in earlier:
            x = self._run(block, x, packing)
        return self._run(final.forward_edges, x, packing, packing.edges(last=last))  # type: ignore[arg-type]

    def _run(self, step: Callable[..., Tensor], x: Tensor, *rest: Any) -> Tensor:
        """Run a step, with its intermediates kept for the backward pass or computed again."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(step, x, *rest, use_reentrant=False)
        return step(x, *rest)


def _initialize(blocks: list[Block], config: TowerConfig) -> None:
    """Initialize as CLIP does: residual branches start smaller the deeper the stack."""
    inner, residual = config.width**-0.5, (2 * config.width * config.layers) ** -0.5
    for block in blocks:
        attention, mlp = block.attention, block.mlp
        nn.init.normal_(attention.qkv.weight, std=inner)
        nn.init.normal_(attention.out.weight, std=residual)
        nn.init.normal_(mlp.fc1.weight, std=(2 * config.width) ** -0.5)
        nn.init.normal_(mlp.fc2.weight, std=residual)
        for linear in (attention.qkv, attention.out, mlp.fc1, mlp.fc2):
            nn.init.zeros_(linear.bias)


class AttentionHead(nn.Module):
    """SigLIP's MAP head (arXiv:2106.04560): attention, then an MLP on its output.

    With a learned probe as the only query it pools a picture into one vector; with the patches themselves as
    queries it is FG-CLIP 2's dense head (arXiv:2510.10921). The residual is the attention's output.
    """

    def __init__(self, config: TowerConfig, *, probe: bool) -> None:
        super().__init__()
        self.heads = config.heads
        self.probe = nn.Parameter(torch.randn(config.width) * config.width**-0.5) if probe else None
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.mlp = MLP(config.width, config.mlp_width, config.activation)

    def pool(self, x: Float[Tensor, "B T W"], mask: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B W"]:
        """Return one vector per row, gathered by the probe from the real tokens."""
        assert self.probe is not None
        return self._attend(self.probe.expand(len(x), 1, -1), x, mask)[:, 0]

    def forward(self, x: Float[Tensor, "B T W"], mask: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B T W"]:
        """Return one vector per token, gathered by the token itself from the real ones."""
        return self._attend(x, x, mask)

    def value_path(self, x: Float[Tensor, "B T W"]) -> Float[Tensor, "B T W"]:
        """Return the output of attention if each token attended to itself alone."""
        width = x.shape[-1]
        mixed = self.out(row_map(self.qkv)(x, 2 * width, None))
        return mixed + self.mlp(self.norm(mixed))

    def _attend(self, query: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        width = x.shape[-1]
        rows = row_map(self.qkv)
        q = rows(query, 0, width).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        kv = rows(x, width, None).unflatten(-1, (2, self.heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4)
        keys = None if mask is None else mask[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keys).transpose(1, 2).flatten(2)
        mixed = self.out(mixed)
        return mixed + self.mlp(self.norm(mixed))
