"""The text tower: texts of any length, packed, with a table of positions per kind of text."""

from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..types import Kind
from .config import TextConfig
from .layers import AttentionHead, Packing, Transformer, uniform
from .positions import Positions


@dataclass(frozen=True)
class TextFeatures:
    """Features of texts, in the tower's own width.

    Attributes:
        pooled: Of each whole text.
        tokens: Of every real token, in one flat row. None if they were not asked for.
        packing: Where each text lies in it.
    """

    pooled: Float[Tensor, "B W"]
    tokens: Float[Tensor, "T W"] | None
    packing: Packing


class TextTower(nn.Module):
    """A text transformer whose cost follows real tokens.

    CLIP's texts end at their first end-of-text token: what lies behind it is never read, whatever it is. SigLIP's
    towers read padding like text and pool at the last position, so there every position counts.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        kept_rows, frozen = config.kept_positions, config.freeze_kept
        if config.long_context is None:
            self.positions = Positions(config.context, config.width, kept_rows=kept_rows, freeze_kept=frozen)
        else:
            self.positions = Positions(config.context, config.width)
            self.long_positions = Positions(config.long_context, config.width, kept_rows=kept_rows, freeze_kept=frozen)
        self.transformer = Transformer(config, causal=config.causal)
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.head = AttentionHead(config, probe=True) if config.pooling == "attention" else None

    @property
    def width(self) -> int:
        """Width of the features."""
        return self.config.width

    def lengths(self, token_ids: Int[Tensor, "B L"]) -> list[int]:
        """Return how many tokens of each text are read.

        Raises:
            ValueError: If a token is not of the vocabulary or a text has no end.
        """
        count, longest = token_ids.shape
        check_vocabulary(token_ids, self.config.vocabulary)
        if self.config.pooling == "last":
            return [longest] * count
        return self.ends(token_ids)

    def ends(self, token_ids: Int[Tensor, "B L"]) -> list[int]:
        """Return length of each text up to and with its end-of-text token.

        Raises:
            ValueError: If a text has none.
        """
        return text_ends(token_ids, self.config.eos_id)

    def forward(
        self,
        token_ids: Int[Tensor, "B L"],
        kind: Kind = "caption",
        *,
        tokens: bool = True,
        start: Int[Tensor, " B"] | None = None,
    ) -> TextFeatures:
        """Return features of each text.

        Args:
            token_ids: One text a row, padded on the right with anything.
            kind: Which table of positions is used.
            tokens: Whether features of tokens are wanted too.
            start: Position of each text's first token, as if padding stood before it that nobody reads
                (DeBias-CLIP, arXiv:2602.22419). None: 0.

        Raises:
            ValueError: If these are no token ids, the kind is unknown, or a text is too long, has no end or holds
                unknown tokens.
        """
        check_texts(token_ids, kind)
        lengths = self.lengths(token_ids)
        ends = lengths if start is None else [a + b for a, b in zip(lengths, start.tolist(), strict=True)]
        check_length(ends, self.config.length(kind), kind)
        packing = self._pack(lengths, token_ids)
        ids, positions = packing.take(token_ids), packing.positions()
        if start is not None:
            positions = positions + start[packing.rows()]
        x = self.token_embedding(ids) + F.embedding(positions, self.table(kind))
        if self.head is None and not tokens:
            return TextFeatures(self.norm(self.transformer.edges(x, packing, last=True)), None, packing)
        x = self.norm(self.transformer(x, packing)[0])
        return TextFeatures(self._pool(x, packing), x, packing)

    def _pack(self, lengths: list[int], token_ids: Tensor) -> Packing:
        if len(set(lengths)) == 1:
            return uniform(len(lengths), lengths[0], token_ids.device)
        return Packing.of(lengths, token_ids.device)

    def table(self, kind: Kind) -> Float[Tensor, "L W"]:
        """Return the positions that texts of this kind are read with."""
        separate = kind == "long_caption" and self.config.long_context is not None
        return self.long_positions() if separate else self.positions()

    def _pool(self, x: Float[Tensor, "T W"], packing: Packing) -> Float[Tensor, "B W"]:
        if self.head is None:
            return packing.last(x)
        padded, mask = packing.pad(x)
        pooled: Tensor = self.head.pool(padded, mask)
        return pooled


def check_texts(token_ids: Tensor, kind: str) -> None:
    """Refuse values that are no token ids, and an unknown kind of text.

    Raises:
        ValueError: If they are no rows of integers, or there is no such kind. The message lists those there are.
    """
    if token_ids.ndim != 2 or token_ids.is_floating_point():
        raise ValueError(
            f"Token ids have shape {tuple(token_ids.shape)} and type {token_ids.dtype}. Give integers, one text a row."
        )
    if kind not in get_args(Kind):
        raise ValueError(f"There is no kind of text '{kind}'. There are: {', '.join(get_args(Kind))}.")


def check_vocabulary(token_ids: Int[Tensor, "B L"], vocabulary: int) -> None:
    """Refuse token ids that a tower has no embedding for.

    Raises:
        ValueError: If there is one.
    """
    if token_ids.numel():
        low, high = (int(extreme) for extreme in torch.aminmax(token_ids))
        if low < 0 or high >= vocabulary:
            raise ValueError(
                f"Token id {low if low < 0 else high} is outside the vocabulary of {vocabulary}."
                " Use this model's tokenizer."
            )


def check_length(lengths: list[int], limit: int, kind: Kind) -> None:
    """Refuse texts beyond the longest that a tower takes.

    Raises:
        ValueError: If there is one. The message names the longest.
    """
    if max(lengths, default=0) > limit:
        raise ValueError(
            f"Text {lengths.index(max(lengths))} has {max(lengths)} tokens, the most for kind '{kind}' is {limit}."
            " Shorten it, or pass overflow='truncate' or overflow='windows'."
        )


def text_ends(token_ids: Int[Tensor, "B L"], eos_id: int) -> list[int]:
    """Return length of each text up to and with its end-of-text token.

    Raises:
        ValueError: If a text has none.
    """
    ends = token_ids == eos_id
    ended = ends.any(dim=1)
    if not bool(ended.all()):
        row = int((~ended).nonzero()[0])
        raise ValueError(f"Text {row} has no end-of-text token ({eos_id}). End it, or use this model's tokenizer.")
    return (ends.int().argmax(dim=1) + 1).tolist() if len(ends) else []
