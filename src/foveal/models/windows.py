"""Texts beyond the longest a tower takes: overlapping windows whose tokens form one set."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Overflow = Literal["error", "truncate", "windows"]


@dataclass(frozen=True)
class Windows:
    """Texts cut into windows that a tower can take, and the way back.

    Attributes:
        token_ids: One window a row. Each begins and ends as a text does.
        owner: Which text each window is of.
        weight: Tokens of the text that each window adds, for averaging.
        unique: True for tokens that no earlier window of the same text has brought.
        texts: Number of texts.
    """

    token_ids: Int[Tensor, "w L"]
    owner: Int[Tensor, " w"]
    weight: Float[Tensor, " w"]
    unique: Bool[Tensor, "w L"]
    texts: int

    def merge_embeddings(self, embeddings: Float[Tensor, "w E"]) -> Float[Tensor, "B E"]:
        """Return per text the average of its windows, weighted by their lengths, of unit length."""
        summed = embeddings.new_zeros(self.texts, embeddings.shape[1])
        weighted = embeddings * self.weight[:, None].to(embeddings)
        return F.normalize(summed.index_add(0, self.owner, weighted), dim=-1)

    def merge_tokens(self, tokens: Float[Tensor, "w _l E"]) -> tuple[Float[Tensor, "B _t E"], Bool[Tensor, "B _t"]]:
        """Return per text one set with each of its tokens once, in order, padded with zeros; and its mask."""
        unique = self.unique[:, : tokens.shape[1]]
        flat = tokens[unique]
        owner = self.owner[:, None].expand_as(unique)[unique]
        counts = torch.bincount(owner, minlength=self.texts)
        column = torch.arange(len(flat), device=flat.device) - (counts.cumsum(0) - counts)[owner]
        longest = int(counts.max()) if len(counts) else 0
        merged = flat.new_zeros(self.texts, longest, flat.shape[-1]).index_put((owner, column), flat)
        return merged, torch.arange(longest, device=flat.device) < counts[:, None]


def truncate(token_ids: Int[Tensor, "B L"], limit: int, eos_id: int) -> Int[Tensor, "B _l"]:
    """Cut texts to a limit; the last token of longer ones becomes end-of-text, as CLIP's tokenizer does."""
    cut = token_ids[:, :limit].clone()
    longer = ~(cut == eos_id).any(dim=1)
    cut[longer, -1] = eos_id
    return cut


def split_windows(
    token_ids: Int[Tensor, "B L"],
    limit: int,
    eos_id: int,
    *,
    start: bool,
    pad_id: int = 0,
    overlap: float = 0.25,
) -> Windows:
    """Cut texts into overlapping windows of at most `limit` tokens.

    A token that lies in two windows is kept from the earlier one, where it has more text before it.

    Args:
        token_ids: Texts with an end-of-text token each; what lies behind it is ignored.
        limit: Most tokens of a window, its start and end included.
        eos_id: End of text.
        start: Whether texts begin with a start token that every window repeats.
        pad_id: Fills rows on the right.
        overlap: Share of a window that the next one repeats.
    """
    rows: list[list[int]] = []
    unique: list[list[bool]] = []
    owner: list[int] = []
    for text, ids in enumerate(token_ids.tolist()):
        ids = ids[: ids.index(eos_id)]
        head, body = (ids[:1], ids[1:]) if start else ([], ids)
        room = limit - len(head) - 1
        step = max(1, room - round(overlap * room))
        begins = [0, *range(step, len(body) - room + step, step)]
        for begin in begins:
            part = body[begin : begin + room]
            repeated = 0 if begin == 0 else room - step
            last = begin == begins[-1]
            rows.append([*head, *part, eos_id])
            unique.append([begin == 0] * len(head) + [i >= repeated for i in range(len(part))] + [last])
            owner.append(text)
    longest = max(map(len, rows), default=1)
    padded = [row + [pad_id] * (longest - len(row)) for row in rows]
    flags = [row + [False] * (longest - len(row)) for row in unique]
    device = token_ids.device
    return Windows(
        token_ids=torch.tensor(padded, device=device, dtype=token_ids.dtype).reshape(len(rows), longest),
        owner=torch.tensor(owner, device=device, dtype=torch.long),
        weight=torch.tensor([float(sum(row)) for row in unique], device=device),
        unique=torch.tensor(flags, device=device, dtype=torch.bool).reshape(len(rows), longest),
        texts=len(token_ids),
    )
