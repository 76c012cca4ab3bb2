"""Numbers without a random generator: weights and pixels that anyone can make again in any language."""

from zlib import crc32

import numpy as np

FIXED = {"logit_scale": 4.5, "logit_scale_finegraind": 3.5, "logit_scale_hardneg": 3.0, "logit_bias": -10.25}


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between -1 and 1 that belong to a name, in C order.

    Number k, counted from 0, is 2 f - 1, rounded to a multiple of 1/128. Here f is the fraction of 10,000 sin(k + n),
    and n is 1 + CRC-32 of the name modulo 9,973. Multiples of 1/128 are exact in half precision too.
    """
    places = np.arange(np.prod(shape, dtype=int)) + 1.0 + crc32(name.encode()) % 9973
    fractions = (10_000 * np.sin(places)) % 1
    return (np.rint(128 * (2 * fractions - 1)) / 128).reshape(shape)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of a checkpoint: scales of norms around 1, small biases, and maps that keep their input's size about."""
    last = name.rpartition(".")[2]
    if last in FIXED:
        return np.full(shape, FIXED[last])
    if last == "scale":  # of FineLIP's softmax
        return np.full(shape, 1.5)
    if last == "weight" and len(shape) == 1:
        return 1 + numbers(name, shape) / 4
    if name.endswith("weight.3.weight"):  # FineLIP's scores, large enough for slots to differ
        return numbers(name, shape)
    return numbers(name, shape) / (8 if len(shape) == 4 else 4)


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Every tensor of a checkpoint."""
    return {name: weight(name, shape) for name, shape in shapes.items()}


def pixels(name: str, height: int, width: int) -> np.ndarray:
    """A normalized picture: three colors, rows, columns, between -2 and 2."""
    return 2 * numbers(name, (3, height, width))


def token_ids(name: str, length: int, vocabulary: int) -> list[int]:
    """Ids of words, none of which is a mark."""
    return [int(1000 + value) for value in (numbers(name, (length,)) + 1) / 2 * (vocabulary - 1010)]


def of_words(name: str, length: int, vocabulary: int) -> list[int]:
    """Ids of a small vocabulary, past its first ten, which hold marks."""
    return [int(10 + value) for value in (numbers(name, (length,)) + 1) / 2 * (vocabulary - 11)]
