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
    parts = [plain(chunk.flatten()) for chunk in chunks(column)]
    return np.concatenate(parts or [np.zeros(0, np.int8)])


def lengths_of(column: Any) -> np.ndarray:
    """Return the length of each list of a column."""
    return np.concatenate([np.zeros(0, np.int64), *(plain(chunk.value_lengths()) for chunk in chunks(column))])


def plain(numbers: Any) -> np.ndarray:
    """Return an array of numbers without copying it. `Array.to_numpy` imports pandas, where there is one, to ask it."""
    return np.from_dlpack(numbers) if len(numbers) else np.zeros(0, numbers.type.to_pandas_dtype())


def taken(rows: Any, places: np.ndarray) -> Any:
    """Return rows of a table by place, without pandas likewise."""
    import pyarrow as pa

    numbers = np.ascontiguousarray(places, dtype=np.int64)
    return rows.take(pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)]))


def chunks(column: Any) -> list[Any]:
    """Return the arrays that a column of a table or of a batch is made of."""
    return list(getattr(column, "chunks", [column]))
