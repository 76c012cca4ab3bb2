"""Columns of Arrow tables as matrices, and back."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def list_members(column: Any) -> Any:
    """Return all members of a column of lists, one behind another."""
    return column.combine_chunks().flatten()


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

    lengths = np.concatenate([np.zeros(0, np.int64), *(chunk.value_lengths() for chunk in _chunks(column))])
    member = np.arange(most) * (np.arange(most) < lengths[:, None]) + (lengths.cumsum() - lengths)[:, None]
    members = pa.chunked_array([chunk.flatten() for chunk in _chunks(column)], column.type.value_type)
    return matrix(members, width)[torch.from_numpy(member)]


def fixed_lists(numbers: np.ndarray, width: int) -> Any:
    """Return numbers as an array of lists of one width."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), width)


def flat_numbers(column: Any) -> np.ndarray:
    """Return all numbers of a column of lists of one width, one behind another."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in _chunks(column)]
    return np.concatenate(parts or [np.zeros(0, np.int8)])


def _chunks(column: Any) -> list[Any]:
    """Return the arrays that a column of a table or of a batch is made of."""
    return list(getattr(column, "chunks", [column]))
