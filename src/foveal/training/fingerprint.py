"""Fingerprints of a run's sources, so that a training notices when it resumes on other data.

Times and places of files do not count, so a data set may be copied and moved. At most 256 MiB of a source are read:
all of it where it is smaller, else blocks of 64 KiB at fixed places, two at least of each of 2,048 files. A change
that lies between the blocks, and changes no size, is not noticed.
"""

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, is_dataclass
from hashlib import blake2b
from os.path import commonpath
from pathlib import Path
from typing import Any

from ..configuration import describe
from ..data.excerpt import evenly_spaced, excerpt, picture_key
from ..data.formats.paths import expand
from ..data.stream import Indexed, Source, count_of
from ..types import Sample
from .checkpoint import write_text

log = logging.getLogger(__name__)

FILE = "data.json"
BYTES = 1 << 28
BLOCK = 1 << 16
FILES = BYTES // (2 * BLOCK)
SAMPLES = 64
THREADS = 8


@dataclass(frozen=True)
class Fingerprint:
    """The content of one source, in a few numbers.

    Attributes:
        spec: The source as the run names it.
        kind: What reads it.
        settings: Of what reads it, or of made-up scenes.
        count: Samples, or shards. None: it never ends.
        files: How many.
        size: Of all files together, in bytes.
        content: Hash of the files' names, sizes and blocks, in order.
        samples: Hash of texts and regions of 64 samples from evenly spaced places, and of their pictures' files.
    """

    spec: str
    kind: str
    settings: dict[str, Any]
    count: int | None
    files: int
    size: int
    content: str
    samples: str

    @classmethod
    def of(cls, spec: str, source: Source) -> "Fingerprint":
        """Take the fingerprint of an opened source."""
        files = _files(source)
        sizes = [file.stat().st_size for file in files]
        return cls(
            spec=spec,
            kind=type(source).__name__,
            settings=_settings(source),
            count=count_of(source) if isinstance(source, Indexed) else len(source.shards()),
            files=len(files),
            size=sum(sizes),
            content=_content(files, sizes),
            samples=_hash(*map(_words, excerpt(source, SAMPLES))),
        )

    def change(self, now: "Fingerprint") -> str:
        """Say how a source differs from what it was. Empty if it does not; its name may differ."""
        for name in ("kind", "settings", "count", "files", "size"):
            old, new = getattr(self, name), getattr(now, name)
            if old != new:
                return f"its {name} was {json.dumps(old)}, now {json.dumps(new)}"
        if self.content != now.content:
            return "as many bytes as before, but others"
        return "" if self.samples == now.samples else "the same files, but other samples or pictures"


def read(folder: Path) -> list[Fingerprint] | None:
    """Return the fingerprints that a run was begun with. None if it was begun before there were any.

    Raises:
        ValueError: If the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return [Fingerprint(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged: {error}. Remove it to go on without knowing whether data changed."
        ) from error


def check(folder: Path, now: Sequence[Fingerprint]) -> None:
    """Refuse sources that hold something else than those that a run was begun with. A new name alone is said.

    Raises:
        ValueError: If one does. The message names it, and the way to go on with it.
    """
    before = read(folder)
    if before is None:
        log.warning("%s was begun without fingerprints: whether its data is the same can't be checked.", folder)
        return
    changes = [f"{new.spec!r}: {change}" for old, new in zip(before, now, strict=False) if (change := old.change(new))]
    if len(before) != len(now):
        changes.append(f"there were {len(before)} sources, now {len(now)}")
    if changes:
        raise ValueError(
            f"The data of {folder} has changed ({'; '.join(changes)}). Put back what it was begun with, or go on with"
            " what is there, no longer bit for bit: --set data.allow_change=true."
        )
    for old, new in zip(before, now, strict=True):
        if old.spec != new.spec:
            log.warning("Source %r is now %r, which holds the same.", old.spec, new.spec)


def write(folder: Path, fingerprints: Sequence[Fingerprint]) -> None:
    """Write down the fingerprints of a run's sources."""
    write_text(folder / FILE, json.dumps([asdict(fingerprint) for fingerprint in fingerprints], indent=2) + "\n")


def _settings(source: Source) -> dict[str, Any]:
    """Return the fields of a source but for places in the file system."""
    part: Any = source
    values = {field.name: getattr(part, field.name) for field in fields(part)} if is_dataclass(part) else {}
    return {name: describe(value) for name, value in values.items() if not isinstance(value, Path | None)}


def _files(source: Source) -> list[Path]:
    """Return the files that a source reads its samples from, in its order. None for made-up scenes."""
    parts = [source] if isinstance(source, Indexed) else source.shards()
    paths = dict.fromkeys(Path(part.path) for part in parts if hasattr(part, "path"))
    return [file for path in paths for file in _files_at(path)]


def _files_at(path: Path) -> Sequence[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    return [path] if path.is_file() else expand(path)


def _content(files: Sequence[Path], sizes: Sequence[int]) -> str:
    """Hash all names and sizes, and what fits into `BYTES`."""
    root = commonpath([file.absolute().parent for file in files]) if files else ""
    names = [f"{file.absolute().relative_to(root).as_posix()} {size}" for file, size in zip(files, sizes, strict=True)]
    numbers = evenly_spaced(len(files), FILES)
    share = BYTES // max(1, len(numbers))
    with ThreadPoolExecutor(THREADS) as pool:
        blocks = pool.map(lambda number: _blocks(files[number], sizes[number], share), numbers)
        return _hash(*names, *blocks)


def _blocks(file: Path, size: int, share: int) -> str:
    """Hash a file, or as many blocks of it as a share of bytes allows."""
    last = (size - 1) // BLOCK
    digest = blake2b(digest_size=16)
    with file.open("rb") as opened:
        for number in evenly_spaced(last + 1, max(2, share // BLOCK)):
            opened.seek(number * BLOCK)
            digest.update(opened.read(BLOCK))
    return digest.hexdigest()


def _words(sample: Sample | None) -> str:
    """Return all texts of a sample, and the key of its picture if that lies in a file beside the source's own."""
    if sample is None:
        return "broken"
    regions = [
        [region.box, region.phrase, [negative.text for negative in region.negatives]] for region in sample.regions
    ]
    hard_negatives = [
        [negative.text for negative in negatives]
        for negatives in (sample.caption_negatives, sample.long_caption_negatives)
    ]
    picture = picture_key(sample.image) if isinstance(sample.image, Path) else ""
    return json.dumps([sample.id, sample.captions, sample.long_caption, regions, hard_negatives, picture])


def _hash(*texts: str) -> str:
    digest = blake2b(digest_size=16)
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
