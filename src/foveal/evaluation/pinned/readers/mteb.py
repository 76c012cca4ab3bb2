"""Data sets as mteb keeps them: a corpus, queries, and which belong together."""

from pathlib import Path
from typing import Any

from ..canonical import Captions, Row
from ..reading import Data, Options, text
from .parquet import Cells, Entry, entries, files


def retrieval(folder: Path, _: Options) -> Data:
    """Return rows of the images of `corpus` and the texts of `queries` that `qrels` gives them.

    An image's id is its id in the corpus.

    Raises:
        ValueError: If a pair names an image or a text that is not there.
    """
    images = Cells()
    for path in files(folder / "corpus"):
        for entry in entries(path, ["id"], {"image": ""}):
            images.where[_name(entry)] = entry.where("image")
    queries = {entry.values["id"]: text(entry.values["text"]) for entry in _all(folder / "queries", ["id", "text"])}
    texts: dict[str, list[str]] = {}
    for entry in _all(folder / "qrels", ["query-id", "corpus-id", "score"]):
        pair: dict[str, Any] = entry.values
        if pair["score"] > 0:
            image, query = f"{pair['corpus-id']}.jpg", pair["query-id"]
            if image not in images.where or query not in queries:
                raise ValueError(f"{folder}/qrels: {query} or {pair['corpus-id']} is not there. Get all three parts.")
            texts.setdefault(image, []).append(queries[query])
    rows: list[Row] = [Captions(image, tuple(of_image)) for image, of_image in texts.items()]
    return Data(rows=tuple(rows), images=images)


def _all(folder: Path, columns: list[str]) -> list[Entry]:
    return [entry for path in files(folder) for entry in entries(path, columns, {})]


def _name(entry: Entry) -> str:
    return f"{entry.values['id']}.jpg"
