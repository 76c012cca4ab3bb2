"""Columns of lists in Arrow tables as tensors."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .arrow import chunks, flat_numbers, lengths_of


def matrix(column: Any, width: int) -> Tensor:
    """Return a column of lists of one width as a float32 matrix."""
    return torch.from_numpy(flat_numbers(column)).float().view(-1, width)


def unit_rows(column: Any, most: int, width: int) -> Tensor:
    """Return a column of sets as unit-length rows, `most` for each image; a smaller set repeats its first member."""
    import pyarrow as pa

    fixed = pa.types.is_fixed_size_list(column.type)
    rows = matrix(column, width) if fixed else padded_rows(column, most, width).flatten(0, 1)
    return F.normalize(rows, dim=-1)


def padded_rows(column: Any, most: int, width: int) -> Tensor:
    """Return a column of lists of lists, each filled up with its first."""
    import pyarrow as pa

    lengths = lengths_of(column)
    member = np.arange(most) * (np.arange(most) < lengths[:, None]) + (lengths.cumsum() - lengths)[:, None]
    members = pa.chunked_array([chunk.flatten() for chunk in chunks(column)], column.type.value_type)
    return matrix(members, width)[torch.from_numpy(member)]
