"""One file per format, reading and writing samples."""

from .coco import Coco
from .csv_pairs import CsvPairs
from .fine_hard import FineHard
from .json_rows import JsonRows
from .jsonl import Jsonl
from .lvis import Lvis
from .parquet import Parquet
from .share_gpt4v import ShareGpt4v
from .source import open_source
from .webdataset import WebDataset

__all__ = [
    "Coco",
    "CsvPairs",
    "FineHard",
    "JsonRows",
    "Jsonl",
    "Lvis",
    "Parquet",
    "ShareGpt4v",
    "WebDataset",
    "open_source",
]
