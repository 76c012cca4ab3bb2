"""The parts that transformers are made of, a row at a time."""

import math
from collections.abc import Callable

import numpy as np

Tensors = dict[str, np.ndarray]


def quick_gelu(x: float) -> float:
    """OpenAI's: x times the logistic function of 1.702 x."""
    return x / (1 + math.exp(-1.702 * x))


def gelu(x: float) -> float:
    """x times the share of a normal distribution below x."""
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def tanh_gelu(x: float) -> float:
    """SigLIP's approximation of it."""
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def unit(row: np.ndarray) -> np.ndarray:
    """A row of length 1."""
    return row / math.sqrt(sum(value * value for value in row))


def softmax(row: np.ndarray) -> np.ndarray:
    """Positive numbers that sum to 1."""
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def layer_norm(x: np.ndarray, t: Tensors, name: str, eps: float) -> np.ndarray:
    """Every row with mean 0 and variance 1, scaled and moved."""
    rows = []
    for row in x:
        mean = sum(row) / len(row)
        variance = sum((value - mean) ** 2 for value in row) / len(row)
        rows.append((row - mean) / math.sqrt(variance + eps) * t[f"{name}.weight"] + t[f"{name}.bias"])
    return np.array(rows)


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0) -> np.ndarray:
    """Each row times a matrix of (out, in)."""
    return np.array([(weight * row).sum(axis=1) + bias for row in x])


def mlp(x: np.ndarray, t: Tensors, first: str, second: str, activation: Callable[[float], float]) -> np.ndarray:
    """Two linear maps with a non-linearity between them."""
    hidden = linear(x, t[f"{first}.weight"], t[f"{first}.bias"])
    hidden = np.array([[activation(value) for value in row] for row in hidden])
    return linear(hidden, t[f"{second}.weight"], t[f"{second}.bias"])


def attention(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int, *, causal: bool) -> np.ndarray:
    """Each query's weighted mean of values, head by head; if causal, of its own place and those before it."""
    width = query.shape[1] // heads
    mixed = np.zeros_like(query)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for place, row in enumerate(query[:, part]):
            seen = place + 1 if causal else len(key)
            weights = softmax((key[:seen, part] * row).sum(axis=1) / math.sqrt(width))
            for weight, other in zip(weights, value[:seen, part], strict=True):
                mixed[place, part] += weight * other
    return mixed


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Products of all rows of unit length."""
    return np.array([[(one * other).sum() for other in right] for one in left])


def roi_mean(grid: np.ndarray, box: list[float]) -> np.ndarray:
    """Mask R-CNN's RoIAlign of one bin, as many samples a side as cells, rounded up; cell i covers i to i + 1.

    Args:
        grid: Rows, columns, width.
        box: (x0, y0, x1, y1) in fractions.
    """
    rows, columns, _ = grid.shape
    x0, x1, y0, y1 = box[0] * columns, box[2] * columns, box[1] * rows, box[3] * rows
    across, down = math.ceil(x1 - x0), math.ceil(y1 - y0)
    total = np.zeros(grid.shape[2])
    for i in range(down):
        for j in range(across):
            y = y0 - 0.5 + (i + 0.5) * (y1 - y0) / down
            x = x0 - 0.5 + (j + 0.5) * (x1 - x0) / across
            if -1 <= y <= rows and -1 <= x <= columns:
                total += bilinear(grid, max(y, 0.0), max(x, 0.0))
    return total / (across * down)


def bilinear(grid: np.ndarray, y: float, x: float) -> np.ndarray:
    """Between the four cells around a point; beyond the last cell, the last."""
    rows, columns, _ = grid.shape
    y, x = min(y, rows - 1.0), min(x, columns - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    v, u = y - top, x - left
    upper = (1 - u) * grid[top, left] + u * grid[top, right]
    lower = (1 - u) * grid[bottom, left] + u * grid[bottom, right]
    return (1 - v) * upper + v * lower


def triangle_resize(table: np.ndarray, size: int) -> np.ndarray:
    """The first axis resized by linear interpolation with antialiasing: a triangle as wide as the coarser step."""
    step = len(table) / size
    reach = max(step, 1.0)
    rows = []
    for place in range(size):
        center = (place + 0.5) * step
        weights = [max(0.0, 1 - abs(cell + 0.5 - center) / reach) for cell in range(len(table))]
        rows.append(sum(weight * row for weight, row in zip(weights, table, strict=True)) / sum(weights))
    return np.array(rows)


def grid_positions(table: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A square table of positions for another grid, in reading order (NaFlex)."""
    side = round(math.sqrt(len(table)))
    square = triangle_resize(table.reshape(side, side, -1), rows)
    return triangle_resize(square.transpose(1, 0, 2), columns).transpose(1, 0, 2).reshape(rows * columns, -1)


def cut(pixels: np.ndarray, side: int) -> list[np.ndarray]:
    """Square patches of a picture in reading order, each (3, side, side)."""
    _, height, width = pixels.shape
    places = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    return [pixels[:, y : y + side, x : x + side] for y, x in places]
