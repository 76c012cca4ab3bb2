"""Hashes of pictures and texts that survive copying, by which copies and near-copies are found.

The picture hash is the difference hash (dHash: is a cell brighter than its neighbor) in both directions, 128 bits. It
stays nearly the same when a picture is scaled, compressed again or slightly recolored; not when it is cropped, turned
or mirrored.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from ...data.images import open_upright

BITS = 128
_SIDE = 8
_FLAT = 4.0  # levels of 255: a picture that varies less has no fingerprint
_WORD = re.compile(r"[^\W_]+")
NGRAM = 13  # words, as in GPT-3's study of contamination (arXiv:2005.14165, appendix C)


def picture_hash(image: Path | bytes) -> int | None:
    """Return the difference hash of a picture. None for one of a single color, which resembles all others.

    Returns:
        128 bits: of 8 by 8 cells, whether each is brighter than its right neighbor, and than the one below.

    Raises:
        ValueError: If the picture is broken.
    """
    small = open_upright(image, 8 * _SIDE)[0].convert("L")
    cells = np.asarray(small.resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX), dtype=np.float32)
    if cells.std() < _FLAT:
        return None
    bits = np.concatenate(
        [(cells[:-1, :-1] > cells[:-1, 1:]).ravel(), (cells[:-1, :-1] > cells[1:, :-1]).ravel()],
    )
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def text_hashes(text: str) -> Iterator[int]:
    """Yield hashes of a text without case, marks and spaces: of each 13-gram, or of the whole if it is shorter.

    Yields:
        Nothing for a text of fewer than five words, which anyone may write.
    """
    words = _WORD.findall(text.lower())
    if len(words) < 5:
        return
    for start in range(max(1, len(words) - NGRAM + 1)):
        gram = " ".join(words[start : start + NGRAM])
        yield int.from_bytes(blake2b(gram.encode(), digest_size=8).digest(), "big")


@dataclass
class Hashes:
    """Picture hashes in which those that differ in few bits are found without looking at all.

    Two hashes that differ in at most `radius` bits are equal in one of `radius + 1` bands, so only hashes that share
    a band are compared.

    Attributes:
        radius: Bits in which two pictures that count as the same may differ.
    """

    radius: int = 6
    _bands: list[dict[int, list[tuple[int, str]]]] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.radius < 32:
            raise ValueError(f"Radius {self.radius} must be from 0 to 31 bits of {BITS}.")
        self._bands = [{} for _ in range(self.radius + 1)]

    def __len__(self) -> int:
        return sum(map(len, self._bands[0].values()))

    def add(self, value: int, name: str) -> None:
        """Keep a hash under a name."""
        for band, key in zip(self._bands, self._keys(value), strict=True):
            band.setdefault(key, []).append((value, name))

    def find(self, value: int) -> str | None:
        """Return the name of the nearest hash within the radius. None if there is none."""
        best: tuple[int, str] | None = None
        for band, key in zip(self._bands, self._keys(value), strict=True):
            for stored, name in band.get(key, ()):
                distance = (value ^ stored).bit_count()
                if distance <= self.radius and (best is None or distance < best[0]):
                    best = (distance, name)
        return best[1] if best else None

    def _keys(self, value: int) -> Iterator[int]:
        count = self.radius + 1
        edges = [BITS * index // count for index in range(count + 1)]
        for low, high in pairwise(edges):
            yield (value >> low) & ((1 << (high - low)) - 1)
