"""A trained detector on disk, and as a proposer that knows any names."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ..configuration import parse
from ..encoder import Encoder
from ..encoder.load import load
from ..models.detector import BoxDetector, DetectorConfig, Fusion
from ..outside import read_object
from ..writing import replacing
from .letterbox import letterboxed, stacked
from .proposals import Photo, Proposals, opened

CONFIG, WEIGHTS, ENCODER = "detector.json", "detector.safetensors", "encoder"
TEMPLATES = ("{}", "a photo of a {}.", "There is a {} in the scene.")


@dataclass(frozen=True)
class Vocabulary:
    """What a detector was trained on.

    Attributes:
        names: Classes.
        novel: Those among them that were kept out of training.
        templates: Prompts with {} for the name.
    """

    names: tuple[str, ...]
    novel: tuple[str, ...] = ()
    templates: tuple[str, ...] = TEMPLATES

    def __post_init__(self) -> None:
        missing = [name for name in self.novel if name not in self.names]
        if missing:
            raise ValueError(f"The novel class '{missing[0]}' is none of the classes. Add it to names.")

    def is_novel(self, names: Sequence[str]) -> torch.Tensor:
        """Return which names the detector was not trained on."""
        base = set(self.names) - set(self.novel)
        return torch.tensor([name not in base for name in names], dtype=torch.bool)


@dataclass(frozen=True, eq=False)
class Opened:
    """A detector with its encoder."""

    detector: BoxDetector
    encoder: Encoder
    vocabulary: Vocabulary


def build_detector(encoder: Encoder, config: DetectorConfig, vocabulary: Vocabulary) -> BoxDetector:
    """Return an untrained detector around an encoder."""
    classes = encoder.encode_classes(vocabulary.names, vocabulary.templates)
    background = encoder.encode_texts(["background"], "phrase")[0]
    return BoxDetector(encoder.model, config, classes, vocabulary.is_novel(vocabulary.names), background)


def save_detector(folder: Path, detector: BoxDetector, encoder: Encoder, vocabulary: Vocabulary) -> None:
    """Write a detector with its encoder into a folder: the encoder as a model folder of its own, the rest beside it."""
    encoder.save(folder / ENCODER)
    tensors = {name: row.contiguous() for name, row in detector.state_dict().items() if not name.startswith("encoder.")}
    with replacing(folder / WEIGHTS) as unfinished:
        save_file(tensors, unfinished)
    with replacing(folder / CONFIG) as unfinished:
        unfinished.write_text(json.dumps({"config": asdict(detector.config), **asdict(vocabulary)}, indent=2) + "\n")


def open_detector_folder(folder: Path, device: str | None = None) -> Opened:
    """Return what `save_detector` wrote.

    Raises:
        ValueError: If there is no whole detector.
    """
    written = read_object(folder / CONFIG)
    config = parse(DetectorConfig, written.pop("config", {}), f"{folder / CONFIG}: config")
    vocabulary = parse(Vocabulary, written, str(folder / CONFIG))
    encoder = load(folder / ENCODER, device=device)
    detector = build_detector(encoder, config, vocabulary)
    state = load_file(folder / WEIGHTS)
    missing, unexpected = detector.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.startswith("encoder.")]
    if missing or unexpected:
        raise ValueError(f"{folder} holds no whole detector: {(missing + unexpected)[0]} is missing or unknown.")
    return Opened(detector.eval().to(encoder.device), encoder, vocabulary)


@cache
def open_once(folder: Path, device: str | None) -> Opened:
    """Return a detector, the same one whenever it is asked for again in this process."""
    return open_detector_folder(folder, device)


@dataclass(frozen=True)
class Trained:
    """A trained F-ViT as a proposer: refined boxes, scored by its head and its encoder for any names.

    Vocabulary that it was not trained on are taken as novel: there the encoder has the greater say.

    Attributes:
        folder: That the recipe `fvit` wrote.
        fusion: How head and encoder are joined.
        device: Where it runs. None: on the GPU if there is one.
    """

    folder: Path
    fusion: Fusion = field(default_factory=Fusion)
    device: str | None = None

    def propose(self, pictures: Sequence[Photo], names: Sequence[Sequence[str]]) -> list[Proposals]:
        """Return refined boxes with scores for each name.

        Raises:
            ValueError: If a picture is broken, or there is no detector in the folder.
        """
        model = open_once(self.folder, self.device)
        return [self._propose(model, picture, words) for picture, words in zip(pictures, names, strict=True)]

    def _propose(self, model: Opened, picture: Photo, names: Sequence[str]) -> Proposals:
        detector, encoder = model.detector, model.encoder
        pixels, sizes = stacked(
            [letterboxed(opened(picture), detector.config.image_size, encoder.transform)], encoder.transform
        )
        classes = encoder.encode_classes(names, model.vocabulary.templates).to(encoder.device)
        novel = model.vocabulary.is_novel(names).to(encoder.device)
        place = encoder.device
        (candidates,) = detector.candidates(pixels.to(place), sizes.to(place), classes, novel, self.fusion)
        boxes = (candidates.refined / sizes.to(place).repeat(1, 2)).clamp(0, 1).cpu()
        real = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
        return Proposals(boxes, candidates.objectness.cpu(), candidates.score.cpu()).take(real.nonzero()[:, 0])
