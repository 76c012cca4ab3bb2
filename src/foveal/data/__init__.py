"""From files to batches: formats, scenes, pictures, tokenizer, stream."""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .batching import Batcher
    from .formats import Coco, CsvPairs, FineHard, Jsonl, JsonRows, Lvis, Parquet, ShareGpt4v, WebDataset, open_source
    from .images import Augmentation, ImageTransform, View
    from .scenes import Scenes, write_shards
    from .stream import Indexed, Shard, Sharded, Stream
    from .texts import DropSummary, FirstSentence, Prefix, SampleSentences, Text, TextGroup
    from .tokenizer import Tokenizer

__all__ = [
    "Augmentation",
    "Batcher",
    "Coco",
    "CsvPairs",
    "DropSummary",
    "FineHard",
    "FirstSentence",
    "ImageTransform",
    "Indexed",
    "JsonRows",
    "Jsonl",
    "Lvis",
    "Parquet",
    "Prefix",
    "SampleSentences",
    "Scenes",
    "Shard",
    "Sharded",
    "ShareGpt4v",
    "Stream",
    "Text",
    "TextGroup",
    "Tokenizer",
    "View",
    "WebDataset",
    "open_source",
    "write_shards",
]

_HOMES = {
    "Augmentation": "images",
    "Batcher": "batching",
    "Coco": "formats",
    "CsvPairs": "formats",
    "DropSummary": "texts",
    "FineHard": "formats",
    "FirstSentence": "texts",
    "ImageTransform": "images",
    "Indexed": "stream",
    "JsonRows": "formats",
    "Jsonl": "formats",
    "Lvis": "formats",
    "Parquet": "formats",
    "Prefix": "texts",
    "SampleSentences": "texts",
    "Scenes": "scenes",
    "Shard": "stream",
    "Sharded": "stream",
    "ShareGpt4v": "formats",
    "Stream": "stream",
    "Text": "texts",
    "TextGroup": "texts",
    "Tokenizer": "tokenizer",
    "View": "images",
    "WebDataset": "formats",
    "open_source": "formats",
    "write_shards": "scenes",
}

__getattr__ = lazy_names(__name__, _HOMES)
