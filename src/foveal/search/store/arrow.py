"""Columns of lists in Arrow tables as plain numbers, and back."""

from typing import Any

import numpy as np


def list_members(column: Any) -> Any:
    """Return all members of a column of lists, one behind another."""
    return column.combine_chunks().flatten()


def fixed_lists(numbers: np.ndarray, width: int) -> Any:
    """Return numbers as an array of lists of one width."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), width)


def flat_numbers(column: Any) -> np.ndarray:
    """Return all numbers of a column of lists of one width, one behind another."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks(column)]
    return np.concatenate(parts or [np.zeros(0, np.int8)])


def chunks(column: Any) -> list[Any]:
    """Return the arrays that a column of a table or of a batch is made of."""
    return list(getattr(column, "chunks", [column]))
