"""The data of a run: its sources, and the parts of each sample that it asks for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from ..configuration import override
from ..data.batching import Batcher, Prepared
from ..data.formats import open_source
from ..data.images import ImageTransform
from ..data.scenes import Scenes
from ..data.stream import Stream
from ..data.texts import Edit, TextGroup
from ..data.tokenizer import Tokenizer
from ..distributed import World
from ..encoder.checkpoint import origin_of, protocol_of, tokenizer_of
from ..encoder.protocol import Protocol
from ..models.config import ModelConfig
from ..models.layouts import family
from ..types import Batch, Kind, Sample


@dataclass(frozen=True, kw_only=True)
class Feed:
    """The data of a run. What is asked for here is in every batch, whether or not its samples have any.

    Attributes:
        sources: Files, folders, patterns of shards, or "scenes:seed=0,objects=2,..." for made-up pictures.
        weights: Of each source in the mixture. Empty: all alike.
        captions: Short captions are wanted.
        long_captions: Long captions are wanted.
        regions: Most regions per image.
        negatives: Most hard negatives per region.
        caption_negatives: Most hard negatives per short caption.
        groups: Further groups of texts, a recipe's own.
        edits: Change a sample's texts first, in this order.
        transform: From pictures to pixels; its size, or its patch, is the model's.
        tokenizer: From texts to token ids.
        shuffle_buffer: Samples that each worker draws from, where sources are read shard by shard.
        broken_budget: Share of broken samples past which the run stops.
        allow_change: Resume though a source holds something else than when the run began. What follows is then not
            what it would have been, and is not repeated bit for bit.
    """

    sources: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    captions: bool = True
    long_captions: bool = False
    regions: int = 0
    negatives: int = 0
    caption_negatives: int = 0
    groups: tuple[TextGroup, ...] = ()
    edits: tuple[Edit, ...] = ()
    transform: ImageTransform = field(default_factory=ImageTransform)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    shuffle_buffer: int = 10_000
    broken_budget: float = 0.001
    allow_change: bool = False

    def open(
        self, model: ModelConfig, *, batch_size: int, seed: int, world: World, workers: int
    ) -> Stream[Prepared, Batch]:
        """Open this rank's stream of batches for a model.

        Raises:
            ValueError: If there is no source, its name is of no known kind, or the tokenizer is not the model's.
        """
        if not self.sources:
            raise ValueError("The run has no data. Name some with --data, for example --data 'shards/{00..99}.tar'.")
        if self.weights and len(self.weights) != len(self.sources):
            raise ValueError(
                f"There are {len(self.sources)} sources and {len(self.weights)} weights. Give one for each."
            )
        opened = [open_data(spec, model.vision.image_size) for spec in self.sources]
        batcher = self.batcher(model)
        stream = Stream(
            list(zip(opened, self.weights or [1.0] * len(opened), strict=True)),
            batch_size=batch_size,
            prepare=batcher.prepare,
            collate=batcher.collate,
            seed=seed,
            shuffle_buffer=self.shuffle_buffer,
            workers=workers,
            world=world,
            broken_budget=self.broken_budget,
        )
        stream.sizes_may_change = self.allow_change
        return stream

    def following(self, place: Path, model: ModelConfig) -> "Feed":
        """Return the feed for a model that begins from a checkpoint: its normalization, its filter and its tokenizer.

        How pictures are fitted stays the recipe's, as papers change it (FG-CLIP squashes what CLIP crops); but
        towers that began with pictures of any aspect (NaFlex) go on with them.

        Args:
            place: The checkpoint, ours or a public one.
            model: What is trained.

        Raises:
            ValueError: If there is no whole checkpoint.
        """
        protocol = protocol_of(place)
        original = protocol.transform(model.vision)
        transform = replace(self.transform, mean=original.mean, std=original.std, resample=original.resample)
        if original.mode == transform.mode == "crop":
            transform = replace(transform, crop_rounding=original.crop_rounding)
        if original.mode == "native" != transform.mode:
            transform = replace(transform, mode="native", max_patches=original.max_patches, buckets=original.buckets)
        tokenizer = tokenizer_of(place, model.text, protocol) or self.tokenizer
        return replace(self, transform=transform, tokenizer=tokenizer)

    def write_protocol(self, folder: Path, model: ModelConfig, init: Path | None = None) -> None:
        """Write down beside a model how its pictures and texts were prepared, and what it began from.

        Args:
            folder: The model's.
            model: What is trained.
            init: The checkpoint that it begins from.
        """
        protocol = Protocol.of(self.transform, self.tokenizer, family(model))
        if init is not None:
            protocol = replace(protocol, **origin_of(init))
        protocol.write(folder)
        self.tokenizer.save(folder)

    def group_names(self, model: ModelConfig) -> list[str]:
        """Return the groups of texts that batches have."""
        return self.batcher(model).names

    def batcher(self, model: ModelConfig) -> Batcher:
        """Build the batcher of a model. Texts beyond its length are cut.

        Raises:
            ValueError: If the tokenizer is not the model's.
        """
        vision, text = model.vision, model.text
        if self.tokenizer.eos_id != text.eos_id:
            raise ValueError(
                f"The tokenizer ends texts with {self.tokenizer.eos_id}, the model wants {text.eos_id}."
                " Set data.tokenizer.path to the model's tokenizer.json."
            )
        return Batcher(
            transform=replace(
                self.transform,
                size=vision.image_size,
                patch_size=vision.patch_size,
                cut=vision.image_size % vision.patch_size,
            ),
            tokenizer=self.tokenizer,
            captions=self.captions,
            long_captions=self.long_captions,
            regions=self.regions,
            negatives=self.negatives,
            caption_negatives=self.caption_negatives,
            groups=self.groups,
            edits=self.edits,
            lengths={kind: text.length(kind) for kind in get_args(Kind)},
            overflow="truncate",
        )


def open_data(spec: str, image_size: int = 224) -> Any:
    """Open the source that a name stands for, as a stream takes it.

    Args:
        spec: As in `Feed.sources`.
        image_size: Side of the pictures that "scenes:" makes, unless it says another.

    Raises:
        ValueError: If the name is of no known kind. The message lists those there are.
    """

    def scenes(spec: str) -> Iterable[Sample]:
        options = re.split(r",(?=\w+=)", spec.partition(":")[2])  # "objects=2,3" holds a comma of its own
        return override(Scenes(size=image_size), [option for option in options if option])

    return open_source(spec, schemes={"scenes": scenes})
