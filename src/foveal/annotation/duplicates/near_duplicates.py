"""Pictures that are there twice, or nearly. They are found before a run, so that the run may judge each by itself."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ...encoder import Encoder
from ...flow import batched
from ...types import Sample
from .fingerprints import Hashes, picture_hash


def near_duplicates(samples: Iterable[Sample], radius: int = 6) -> frozenset[str]:
    """Return the ids of all samples whose picture resembles an earlier one's, by difference hash.

    Memory grows by some hundred bytes a picture, time by one look at each. Give the result to `Filter.duplicates`.

    Args:
        samples: With pictures that can be read.
        radius: Bits of 128 in which two pictures that count as the same may differ.

    Raises:
        ValueError: If a picture is broken.
    """
    hashes, duplicates = Hashes(radius), set()
    for sample in samples:
        value = picture_hash(sample.image)
        if value is None:
            continue
        if hashes.find(value) is None:
            hashes.add(value, sample.id)
        else:
            duplicates.add(sample.id)
    return frozenset(duplicates)


def similar_pictures(
    samples: Iterable[Sample], encoder: Encoder, least: float = 0.97, batch_size: int = 256
) -> frozenset[str]:
    """Return the ids of all samples whose picture's embedding is close to that of an earlier one that is kept.

    Finds crops and recolored copies that a hash does not; costs an encoder's pass, and time that grows with the square
    of the number of pictures.

    Args:
        samples: With pictures that can be read.
        encoder: Any.
        least: Cosine from which on two pictures count as the same.
        batch_size: Pictures encoded at once.

    Raises:
        ValueError: If a picture is broken.
    """
    duplicates: set[str] = set()
    blocks: list[Tensor] = []
    for batch in batched(samples, batch_size):
        embeddings = encoder.encode_images([sample.image for sample in batch])
        close = torch.zeros(len(batch), dtype=torch.bool)
        for block in blocks:
            close |= (embeddings @ block.T >= least).any(1)
        is_similar = embeddings @ embeddings.T >= least
        for index in range(len(batch)):
            close[index] |= bool((is_similar[index, :index] & ~close[:index]).any())
        duplicates |= {sample.id for sample, is_close in zip(batch, close.tolist(), strict=True) if is_close}
        blocks.append(embeddings[~close])
    return frozenset(duplicates)
