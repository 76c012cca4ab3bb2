"""Pictures and strings in, embeddings out: a model, its tokenizer and its way with pictures, tied together."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .data.images import ImageTransform, View
from .data.tokenizer import Tokenizer
from .models import weights
from .models.dual_encoder import DualEncoder
from .models.regions import pool_regions
from .models.windows import Overflow
from .types import Box, Kind, PatchedPixels

Picture = Path | bytes | Image.Image
Pixels = Float[Tensor, "B 3 Y X"] | PatchedPixels


@dataclass(frozen=True)
class EncodedImages:
    """What one pass over pictures gives. Every row is of unit length; fields that were not asked for are None.

    Attributes:
        embedding: Of each whole picture.
        regions: Of each box, one tensor per picture.
        tokens: Token sets for late interaction, padded to the largest.
        token_mask: True where a member is real.
    """

    embedding: Float[Tensor, "N E"]
    regions: tuple[Float[Tensor, "_r E"], ...] | None = None
    tokens: Float[Tensor, "N S E"] | None = None
    token_mask: Bool[Tensor, "N S"] | None = None


@dataclass(frozen=True)
class EncodedTexts:
    """What one pass over texts gives. Every row is of unit length; fields that were not asked for are None.

    Attributes:
        embedding: Of each whole text.
        tokens: Token sets for late interaction, padded to the largest.
        token_mask: True where a member is real.
    """

    embedding: Float[Tensor, "N E"]
    tokens: Float[Tensor, "N S E"] | None = None
    token_mask: Bool[Tensor, "N S"] | None = None


class Encoder:
    """Embeds any number of pictures and texts, batch by batch, without gradients. Gives float32 on the CPU."""

    def __init__(
        self,
        model: DualEncoder,
        tokenizer: Tokenizer,
        transform: ImageTransform,
        *,
        batch_size: int = 64,
        dtype: torch.dtype = torch.float32,
        overflow: Overflow = "truncate",
        workers: int = 2,
        progress: bool = False,
    ) -> None:
        """Tie a model to what feeds it.

        Args:
            model: On the device where it shall run.
            tokenizer: The model's.
            transform: Decodes and prepares pictures. Where boxes are asked for, a picture that it would crop is
                squashed instead, as FG-CLIP does, so that no box is cut off.
            batch_size: Pictures at once; four times as many texts.
            dtype: torch.bfloat16 runs the model under autocast.
            overflow: What happens to texts beyond the model's length.
            workers: Threads that decode pictures while the model computes.
            progress: Show a bar on standard error.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.transform = transform
        self.batch_size = batch_size
        self.dtype = dtype
        self.overflow = overflow
        self.workers = workers
        self.progress = progress

    @classmethod
    def open(cls, folder: Path, *, batch_size: int = 64, progress: bool = False) -> "Encoder":
        """The encoder of a model folder that a training or `weights.save` wrote.

        Pictures are squashed to the model's square and normalized as CLIP's; texts go through the folder's
        `tokenizer.json`, CLIP's tokenizer where there is none. The model runs on the GPU if there is one.

        Args:
            folder: Holds config.json and model.safetensors.
            batch_size: Pictures at once; four times as many texts.
            progress: Show a bar on standard error.

        Raises:
            ValueError: If the folder holds no whole model.
        """
        model = weights.load(folder).eval().to("cuda" if torch.cuda.is_available() else "cpu")
        own = (folder / "tokenizer.json").is_file()
        vision = model.config.vision
        return cls(
            model,
            Tokenizer.open(folder) if own else Tokenizer.clip(),
            ImageTransform(size=vision.image_size, patch_size=vision.patch_size),
            batch_size=batch_size,
            progress=progress,
        )

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.log_scale.device

    @property
    def image_size(self) -> int:
        """Side of the pictures that the model sees, in pixels."""
        return self.model.config.vision.image_size

    def encode_images(self, pictures: Sequence[Picture]) -> Float[Tensor, "N E"]:
        """One embedding per picture."""
        return self.encode_images_fully(pictures).embedding

    def encode_regions(
        self, pictures: Sequence[Picture], boxes: Sequence[Sequence[Box]]
    ) -> tuple[Float[Tensor, "_r E"], ...]:
        """One embedding per box, picture by picture.

        Args:
            pictures: Any number.
            boxes: Of each picture, (x0, y0, x1, y1) in its fractions.
        """
        regions = self.encode_images_fully(pictures, boxes).regions
        assert regions is not None
        return regions

    def encode_texts(self, texts: Sequence[str], kind: Kind = "caption") -> Float[Tensor, "N E"]:
        """One embedding per text."""
        return self.encode_texts_fully(texts, kind).embedding

    def encode_images_fully(
        self,
        pictures: Sequence[Picture],
        boxes: Sequence[Sequence[Box]] | None = None,
        tokens: bool = False,
    ) -> EncodedImages:
        """Everything asked about each picture, in one pass.

        Args:
            pictures: Any number.
            boxes: Of each picture, (x0, y0, x1, y1) in its fractions. None: no regions are asked for.
            tokens: Give token sets too.

        Raises:
            ValueError: If a picture cannot be read, a box is none, or the numbers of pictures and boxes differ.
        """
        if boxes is not None and len(boxes) != len(pictures):
            raise ValueError(
                f"There are {len(pictures)} pictures and boxes for {len(boxes)}. Give one set per picture."
            )
        parts = []
        for pixels, own in self._batches(pictures, boxes):
            with torch.inference_mode(), self._precision():
                parts.append(self._images(pixels, own if boxes is not None else None, tokens=tokens))
        return EncodedImages(
            embedding=_join([part.embedding for part in parts], self._width),
            regions=tuple(rows.clone() for part in parts for rows in part.regions or ()) if boxes is not None else None,
            **(_join_sets(parts, self._width) if tokens else {}),
        )

    def encode_texts_fully(self, texts: Sequence[str], kind: Kind = "caption", tokens: bool = False) -> EncodedTexts:
        """Everything asked about each text, in one pass.

        Args:
            texts: Any number.
            kind: What sort of text they are; chooses positions and projection.
            tokens: Give token sets too.

        Raises:
            ValueError: If a text is too long and the encoder was told to refuse such texts.
        """
        parts = []
        step = 4 * self.batch_size
        for start in self._bar(range(0, len(texts), step), f"{kind} texts"):
            with torch.inference_mode(), self._precision():
                parts.append(self._texts(texts[start : start + step], kind, tokens=tokens))
        return EncodedTexts(
            embedding=_join([part.embedding for part in parts], self._width),
            **(_join_sets(parts, self._width) if tokens else {}),
        )

    def _images(self, pixels: Pixels, boxes: Sequence[Sequence[Box]] | None, *, tokens: bool) -> EncodedImages:
        if boxes is None and not tokens:
            return EncodedImages(_plain(self.model.encode_images(pixels)))
        image = self.model.image_encoding(pixels)
        sets = _plain_set(self.model.image_set(image)) if tokens else ()
        regions = None
        if boxes is not None:
            assert image.dense is not None
            counts = [len(own) for own in boxes]
            owner = torch.arange(len(boxes)).repeat_interleave(torch.tensor(counts))
            flat = torch.tensor([box for own in boxes for box in own]).reshape(-1, 4)
            pooled = pool_regions(image.dense, image.grid, flat.to(self.device), owner.to(self.device))
            regions = _plain(F.normalize(pooled, dim=-1)).split(counts)
        return EncodedImages(_plain(image.embedding), regions, *sets)

    def _texts(self, texts: Sequence[str], kind: Kind, *, tokens: bool) -> EncodedTexts:
        length = self.model.config.text.length(kind)
        keep = "keep" if self.overflow == "windows" else self.overflow
        ids = self.tokenizer.encode(texts, length, keep).to(self.device)
        if not tokens:
            return EncodedTexts(_plain(self.model.encode_texts(ids, kind, self.overflow)))
        text = self.model.text_encoding(ids, kind, self.overflow)
        return EncodedTexts(_plain(text.embedding), *_plain_set(self.model.text_set(text)))

    def _batches(
        self, pictures: Sequence[Picture], boxes: Sequence[Sequence[Box]] | None
    ) -> Iterator[tuple[Pixels, list[list[Box]]]]:
        """Batches on the device; the next one is decoded while the model computes."""
        transform = self.transform if boxes is None else _showing_all(self.transform)
        step = self.batch_size
        with ThreadPoolExecutor(self.workers) as pool:

            def start(at: int) -> list[Future[View]]:
                some = range(at, min(at + step, len(pictures)))
                return [pool.submit(transform, pictures[i], () if boxes is None else boxes[i]) for i in some]

            ready = start(0)
            for at in self._bar(range(0, len(pictures), step), "pictures"):
                coming = start(at + step)
                views = [each.result() for each in ready]
                ready = coming
                own = [[box for box in view.boxes if box is not None] for view in views]
                yield _to(transform.stack(views), self.device), own

    def _bar(self, steps: range, what: str) -> Iterator[int]:
        return iter(tqdm(steps, desc=what, disable=not self.progress, leave=False))

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @property
    def _width(self) -> int:
        return self.model.config.embed_width


def _showing_all(transform: ImageTransform) -> ImageTransform:
    """The transform for pictures with boxes: nothing is cut off, so every box survives."""
    return replace(transform, mode="squash" if transform.mode == "crop" else transform.mode, visible=0.0)


def _to(pixels: Pixels, device: torch.device) -> Pixels:
    if isinstance(pixels, Tensor):
        return pixels.to(device)
    return PatchedPixels(pixels.values.to(device), pixels.mask.to(device), pixels.grid.to(device))


def _plain(rows: Tensor) -> Tensor:
    """Float32 on the CPU, whatever the model computed in and where; of unit length after coarser arithmetic too."""
    return (rows if rows.dtype == torch.float32 else F.normalize(rows.float(), dim=-1)).cpu()


def _plain_set(tokens: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return _plain(tokens[0]), tokens[1].cpu()


def _join(parts: Sequence[Tensor], width: int) -> Float[Tensor, "N E"]:
    """All batches in one tensor, made outside inference mode so that callers may train on it."""
    return torch.cat([torch.zeros(0, width), *parts])


def _join_sets(parts: Sequence[EncodedImages] | Sequence[EncodedTexts], width: int) -> dict[str, Tensor]:
    """Token sets of all batches, padded to the largest."""
    sets = [(part.tokens, part.token_mask) for part in parts]
    most = max((tokens.shape[1] for tokens, _ in sets if tokens is not None), default=0)
    tokens = torch.zeros(sum(len(part.embedding) for part in parts), most, width)
    mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    at = 0
    for some, real in sets:
        assert some is not None and real is not None
        tokens[at : at + len(some), : some.shape[1]] = some
        mask[at : at + len(some), : some.shape[1]] = real
        at += len(some)
    return {"tokens": tokens, "token_mask": mask}
