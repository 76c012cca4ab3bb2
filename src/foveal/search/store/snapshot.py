"""A copy of a small index in one file, which is opened without the vector store: importing that takes a second."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ...writing import replacing
from ..lock import is_remote
from .arrow import taken

FILE = "snapshot.arrow"
_KEY = b"foveal"  # of what is said about the index, in the schema


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All of an index but its thumbnails.

    Attributes:
        stamp: Of the tables that it was made from.
        made: Facts that the index was made with, as JSON.
        facts: All facts.
        versions: Of the tables of pictures and of codes.
        rows: A pyarrow table, mapped from the file.
    """

    stamp: str
    made: str
    facts: dict[str, Any]
    versions: dict[str, int]
    rows: Any

    @classmethod
    def open(cls, index: str | Path) -> "Snapshot | None":
        """Return an index's snapshot; None if there is none, or a table was written to since."""
        path = Path(index) / FILE
        if is_remote(index) or not path.is_file():
            return None
        import pyarrow as pa

        try:
            rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            about = json.loads(rows.schema.metadata[_KEY])
            snapshot = cls(rows=rows.replace_schema_metadata(None), **about)
        except (pa.ArrowInvalid, KeyError, TypeError, ValueError):  # damaged: the tables themselves are asked
            return None
        return snapshot if snapshot.is_current(index) else None

    def write(self, index: str | Path) -> None:
        """Write the snapshot into the folder of its index."""
        import pyarrow as pa

        about = {"stamp": self.stamp, "made": self.made, "facts": self.facts, "versions": self.versions}
        rows = self.rows.replace_schema_metadata({_KEY: json.dumps(about)})
        with replacing(Path(index) / FILE) as unfinished, pa.ipc.new_file(str(unfinished), rows.schema) as writer:
            writer.write_table(rows)

    def is_current(self, index: str | Path) -> bool:
        """True if no table was written to since. Every commit makes a file, and no two hold the same."""
        return self.stamp == stamp_of(index)

    def among(self, ids: Sequence[str]) -> Any:
        """Return the rows of images."""
        wanted = set(ids)
        places = [place for place, image_id in enumerate(self.rows["id"].to_pylist()) if image_id in wanted]
        return taken(self.rows, np.array(places))


def remove_snapshot(index: str | Path) -> None:
    """Delete the snapshot of an index that has grown."""
    (Path(index) / FILE).unlink(missing_ok=True)


def stamp_of(index: str | Path) -> str:
    """Return a digest of the commits of all tables of an index: their names, and what the first and the last hold."""
    digest = blake2b(digest_size=16)
    for folder in sorted(Path(index).glob("*.lance/_versions")):
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".manifest")
        digest.update(f"{folder.parent.name}: {', '.join(names)}\n".encode())
        for name in dict.fromkeys(names[:1] + names[-1:]):  # one of them is the last, whichever way they are numbered
            digest.update(blake2b((folder / name).read_bytes(), digest_size=16).digest())
    return digest.hexdigest()
