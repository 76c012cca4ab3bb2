"""F-ViT (CLIPSelf, ICLR 2024, arXiv:2310.01403): detection by any words on a frozen encoder, as FG-CLIP is judged by.

foveal train fvit --set model.tower=MODEL --data coco/annotations/instances_train2017.json --out runs/fvit
foveal detect MODEL photo.jpg "a red mug" --boxes runs/fvit

Boxes of the 48 base classes of OV-COCO are learned, its 17 novel ones are kept out. Three epochs of batch 64.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..data.classes import ov_coco
from ..data.images import ImageTransform, open_upright
from ..data.scenes.truth import COLORS
from ..data.stream import Stream
from ..data.tokenizer import Tokenizer
from ..detection.letterbox import Letter, on_square, stacked
from ..detection.trained import CONFIG, Vocabulary, build_detector, open_detector_folder, save_detector
from ..distributed import ALONE, World
from ..encoder import Encoder
from ..encoder.load import load
from ..losses import box_regression, masked_classification, proposal
from ..models.config import ModelConfig
from ..models.detector import BoxDetector, DetectorConfig, DetectorOutput
from ..models.dual_encoder import DualEncoder
from ..models.sizes import tiny
from ..training.feed import open_data
from ..training.optimizer import Optimizer
from ..training.run import Machine, Run
from ..types import Box, BoxedBatch, Sample

BASE, NOVEL = ov_coco()
_LEAST = 1.0  # pixels along a box that is learned
_LONGEST = 4096  # pixels of a picture that is decoded


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A detector around the encoder of a model folder.

    Attributes:
        tower: A name or path for `foveal.load`. Empty: random weights, which show that a recipe runs.
        fresh: The encoder where there is no tower.
        config: Of what is trained.
        vocabulary: The classes, and the prompts that name them.
    """

    tower: str = ""
    fresh: ModelConfig = field(default_factory=tiny)
    config: DetectorConfig = field(default_factory=DetectorConfig)
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary((*BASE, *NOVEL), NOVEL))

    def encoder(self) -> Encoder:
        """Return the encoder that the detector stands on."""
        if self.tower:
            return load(self.tower, device="cpu")
        vision = self.fresh.vision
        transform = ImageTransform(size=vision.image_size, patch_size=vision.patch_size)
        return Encoder(DualEncoder(self.fresh).eval(), Tokenizer.clip(), transform)

    def build(self) -> nn.Module:
        """Return the detector as it begins."""
        return build_detector(self.encoder(), self.config, self.vocabulary)

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the detector and its encoder."""
        assert isinstance(module, BoxDetector)
        encoder = self.encoder()
        encoder.model = module.encoder
        save_detector(folder, module, encoder, self.vocabulary)

    def open(self, folder: Path) -> nn.Module:
        """Return the detector of a folder, or a fresh one on the encoder that the folder holds."""
        if (folder / CONFIG).is_file():
            return open_detector_folder(folder, "cpu").detector
        return replace(self, tower=str(folder)).build()


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Pictures with boxes of classes that may be learned.

    Attributes:
        sources: Annotations in COCO's format, or any source whose regions are named by classes.
        jitter: Least and greatest scale of a picture, of the square that it would fill.
        flip: Probability of a mirror image.
        match: How a region's phrase names its class: it is the name, or holds it as a word.
        allow_change: Resume though a source holds something else than when the run began.
    """

    sources: tuple[str, ...] = ()
    jitter: tuple[float, float] = (0.1, 2.0)
    flip: float = 0.5
    match: Literal["whole", "word"] = "whole"
    allow_change: bool = False

    def open(
        self, model: Detector, *, batch_size: int, seed: int, world: World, workers: int
    ) -> Stream["_Row", BoxedBatch]:
        """Open this rank's stream."""
        transform, side = model.encoder().transform, model.config.image_size
        base = {name: row for row, name in enumerate(model.vocabulary.names) if name not in model.vocabulary.novel}

        def prepare(sample: Sample, rng: np.random.Generator) -> "_Row":
            regions = [
                (region.box, base[name]) for region in sample.regions if (name := self._name(region.phrase, base))
            ]
            letter, boxes = self._view(
                open_upright(sample.image, _LONGEST)[0], [box for box, _ in regions], side, rng, transform
            )
            real = ((boxes[:, 2:] - boxes[:, :2]) >= _LEAST).all(dim=1)
            labels = torch.tensor([label for _, label in regions], dtype=torch.long)
            return _Row(sample.id, letter, boxes[real], labels[real], int(rng.integers(2**31)))

        sources = [(open_data(spec, side), 1.0) for spec in self.sources]
        parts = {"prepare": prepare, "collate": lambda rows: _collated(rows, transform)}
        return Stream(sources, batch_size=batch_size, seed=seed, world=world, workers=workers, **parts)  # type: ignore[arg-type]

    def _name(self, phrase: str, base: dict[str, int]) -> str | None:
        """Return the class that a phrase names, if it may be learned."""
        if self.match == "whole":
            return phrase if phrase in base else None
        return next((word for word in phrase.lower().split() if word in base), None)

    def _view(
        self, picture: Image.Image, boxes: list[Box], side: int, rng: np.random.Generator, transform: ImageTransform
    ) -> tuple[Letter, Tensor]:
        """Return a picture scaled, cut and mirrored at random, and its boxes in pixels, cut alike."""
        scale = side / max(picture.size) * rng.uniform(*self.jitter)
        width, height = (max(1, round(length * scale)) for length in picture.size)
        left, top = (int(rng.integers(max(0, length - side) + 1)) for length in (width, height))
        window = (left, top, min(left + side, width), min(top + side, height))
        size = (window[2] - window[0], window[3] - window[1])
        part = tuple(end / scale for end in window)
        view = picture.resize(size, Image.Resampling.BICUBIC, box=_within(part, picture.size))
        pixels = torch.tensor(boxes).reshape(-1, 4) * torch.tensor([width, height] * 2) - torch.tensor([left, top] * 2)
        pixels = torch.minimum(pixels.clamp(min=0), torch.tensor([*size, *size], dtype=torch.float32))
        if rng.random() < self.flip:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            pixels = torch.stack([size[0] - pixels[:, 2], pixels[:, 1], size[0] - pixels[:, 0], pixels[:, 3]], dim=1)
        return on_square(view, side, transform), pixels


def _within(box: tuple[float, ...], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return a box in pixels without what rounding added beyond the picture."""
    x0, y0, x1, y1 = box
    return x0, y0, min(x1, float(size[0])), min(y1, float(size[1]))


@dataclass(frozen=True, eq=False)
class _Row:
    """A picture that is ready for its batch."""

    id: str
    letter: Letter
    boxes: Tensor
    labels: Tensor
    seed: int


def _collated(rows: list[_Row], transform: ImageTransform) -> BoxedBatch:
    pixels, sizes = stacked([row.letter for row in rows], transform)
    counts = torch.tensor([len(row.boxes) for row in rows])
    return BoxedBatch(
        ids=tuple(row.id for row in rows),
        pixels=pixels,
        sizes=sizes,
        boxes=torch.cat([row.boxes for row in rows]),
        region_image=torch.arange(len(rows)).repeat_interleave(counts),
        region_class=torch.cat([row.labels for row in rows]),
        seed=torch.tensor([row.seed for row in rows]),
    )


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Proposals, their shape, names of regions, and their shape: all weigh alike.

    Attributes:
        background_weight: Times the loss of regions that show nothing.
        additive: Terms are means over pictures.
    """

    background_weight: float = 0.6
    additive: bool = True

    def __call__(self, output: DetectorOutput, world: World = ALONE) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the terms by name."""
        named = (output.region_logits, output.region_label, output.allowed, output.region_weight)
        return {
            "proposal": proposal(output.objectness, output.is_object, output.anchor_weight),
            "proposal_box": box_regression(output.anchor_deltas, output.anchor_targets, output.anchor_delta_weight),
            "class": masked_classification(*named, self.background_weight),
            "box": box_regression(output.region_deltas, output.region_targets, output.region_delta_weight),
        }


def fvit() -> Run[Detector]:
    """Train on COCO's base classes: 3 epochs of 107,761 pictures, 64 at a time, which 8 GPUs share."""
    return Run(
        name="fvit",
        model=Detector(),
        objective=Objective(),
        data=Boxes(),
        optimizer=Optimizer(
            lr=1e-4, weight_decay=0.1, betas=(0.9, 0.999), warmup_steps=250, schedule="constant", clip_gradient_norm=1.0
        ),
        steps=5_052,
        batch_size=64,
        machine=Machine(precision="bf16", workers=8),
    )


def demo() -> Run[Detector]:
    """Train on made-up scenes in minutes: classes are the tiles' colors, two of the eight kept out.

    Its tower is one of the demos, such as `foveal train foveal:demo` makes: --set model.tower=runs/demo.
    """
    vocabulary = Vocabulary(
        tuple(COLORS), ("yellow", "purple"), ("a small {} tile", "a large {} tile", "a {} tile", "a {} square")
    )
    config = DetectorConfig(
        taps=(0, 1, 2, 3), image_size=96, width=64, hidden=128, convs=0, anchor_size=4.0, proposals=100,
        anchor_samples=128, region_samples=64,
    )  # fmt: skip
    return replace(
        fvit(),
        model=Detector(config=config, vocabulary=vocabulary),
        data=Boxes(sources=("scenes:seed=0",), jitter=(1.0, 1.0), flip=0.0, match="word"),
        optimizer=Optimizer(lr=1e-3, weight_decay=0.05, warmup_steps=10, schedule="constant", clip_gradient_norm=1.0),
        steps=300,
        batch_size=8,
        machine=Machine(checkpoint_every=100),
    )


def smoke() -> Run[Detector]:
    """Train six steps of the demo on a tower of random weights."""
    run = demo()
    config = replace(run.model.config, taps=(0, 0, 1, 1), image_size=32, width=16, hidden=16, proposals=20)
    return replace(
        run,
        model=replace(run.model, config=config),
        optimizer=replace(run.optimizer, warmup_steps=2),
        steps=6,
        batch_size=4,
        machine=Machine(checkpoint_every=3),
    )
