"""Sources of samples by their name on the command line."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...types import Sample
from .coco import Coco
from .csv_pairs import CsvPairs
from .fields import BY_NAME, Columns
from .fine_hard import FineHard
from .folder import Folder, content_of
from .json_list import parsed, scan_items
from .json_rows import JsonRows
from .jsonl import Jsonl
from .lvis import Lvis
from .parquet import Parquet
from .paths import TARS, expand, suffix_of
from .share_gpt4v import ShareGpt4v
from .webdataset import WebDataset

KINDS = "*.jsonl, *.tar, *.parquet, *.csv, *.tsv, lists of objects, COCO's, LVIS's, ShareGPT4V's or FineHARD's *.json"
_NO_SCHEMES: Mapping[str, Callable[[str], Iterable[Sample]]] = MappingProxyType({})


def open_source(
    spec: str | Path,
    images: Path | None = None,
    schemes: Mapping[str, Callable[[str], Iterable[Sample]]] = _NO_SCHEMES,
) -> Iterable[Sample]:
    """Open the source that a name stands for, told by its ending and, for JSON, by what is inside.

    Args:
        spec: A file, a folder of pictures or of shards, or a pattern ("shard-{000000..000009}.tar"). Behind "::" may
            stand the folder of its pictures ("annotations/instances_val2017.json::val2017"), and the columns of image
            and caption ("a.csv::image=photo::caption=words"). Names that begin with "word:" go to the opener of that
            word.
        images: The folder of pictures, for the JSON formats. None: what stands behind "::", else their default.
        schemes: Openers by word, for sources that are no files. They get the whole spec.

    Returns:
        `Jsonl(path)` for "path.jsonl", and so on.

    Raises:
        ValueError: If the name or the content is of no known kind, or columns are named of what has none.
    """
    scheme, colon, rest = str(spec).partition(":")
    if colon and scheme in schemes:
        return schemes[scheme](str(spec))
    if colon and scheme.isalpha() and len(scheme) > 1 and not rest.startswith(":"):
        raise ValueError(f"Unknown kind of source '{scheme}:' in '{spec}'. Known: {', '.join(schemes) or 'files'}.")
    path, folder, columns = parts_of(spec)
    opened = (_open_folder if path.is_dir() else _open_file)(path, images or folder)
    if columns == BY_NAME:
        return opened
    if not isinstance(opened, Jsonl | JsonRows | CsvPairs | Parquet):
        raise ValueError(  # noqa: TRY004  # a user's mistake
            f"'{path}' has no columns to be named. Leave out --image-column and --caption-column."
        )
    return replace(opened, columns=columns)


def parts_of(spec: str | Path) -> tuple[Path, Path | None, Columns]:
    """Return what the name of a source says: the file or folder, the folder of its pictures, and its columns.

    Raises:
        ValueError: If it names two folders.
    """
    name, *options = str(spec).split("::")
    columns, folder = BY_NAME, None
    for option in options:
        field, equals, column = option.partition("=")
        if equals and field in ("image", "caption"):
            columns = replace(columns, **{field: column})
        elif folder is not None:
            raise ValueError(f"'{spec}' names two folders of pictures, '{folder}' and '{option}'.")
        elif option:
            folder = Path(option)
    return Path(name), folder, columns


def with_columns(spec: str, image: str | None = None, caption: str | None = None) -> str:
    """Return the name of a source that says, too, which columns hold its images and captions.

    Args:
        spec: As `open_source` takes it.
        image: A column's name. None: it is known by its spelling.
        caption: Likewise.
    """
    return spec + (f"::image={image}" if image else "") + (f"::caption={caption}" if caption else "")


def _open_folder(path: Path, images: Path | None) -> Iterable[Sample]:
    """Open the pictures of a folder, or its shards where no picture lies in it."""
    content = content_of(path)
    if content == "pictures":
        return Folder(path)
    if content == ".tar":
        return WebDataset(path)
    if content == ".parquet":
        return Parquet(path)
    if content == ".json":
        return _open_json(path, min(path.glob("*.json")), images)
    raise ValueError(f"Folder '{path}' holds no pictures, *.tar, *.parquet or *.json. Name a file in it.")


def _open_file(path: Path, images: Path | None) -> Iterable[Sample]:
    """Open a file or a pattern."""
    first = expand(path)[0]
    ending = suffix_of(first.name)
    if ending == ".json":
        return _open_json(path, first, images)
    if ending in TARS:
        return WebDataset(path)
    if ending == ".parquet":
        return Parquet(path)
    if ending in (".jsonl", ".jsonlines", ".ndjson"):
        return Jsonl(path)
    if ending in (".csv", ".tsv"):
        return CsvPairs(path)
    raise ValueError(f"'{path}' is of no known kind. Known: {KINDS}.")


def _open_json(path: Path, first: Path, images: Path | None) -> Iterable[Sample]:
    """Open the JSON format that the keys of `first` speak of."""
    with first.open("rb") as file:
        is_list = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    if is_list:
        item: Any = next((parsed(item) for _, item in scan_items(first)), None)
        if isinstance(item, dict) and "conversations" in item:
            return ShareGpt4v(path, images)
        if isinstance(item, dict) and "f_path" in item:
            return FineHard(path, images)
        if isinstance(item, dict):
            return JsonRows(path, images)
    else:
        kind = _annotations(first)
        if kind is not None:
            return kind(path, images)
    raise ValueError(f"The keys of '{first}' are of no known kind. Known: {KINDS}.")


def _annotations(path: Path) -> type[Coco] | None:
    """Return COCO or LVIS, by a key that only LVIS has, sought as text as parsing takes long; None if neither."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if content.find(b'"images"') < 0:
            return None
        return Lvis if content.find(b'"neg_category_ids"') >= 0 else Coco
