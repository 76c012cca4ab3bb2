"""Proposers by the names that the command line knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..encoder import Encoder
from .dense import Dense
from .files import SUFFIX, FromFile, GroundTruth
from .grounding_dino import Grounding
from .hub import open_detector
from .owl import Owl
from .proposals import Photo, Proposals, Proposer
from .trained import CONFIG, Trained

DETECTORS = {
    "owlv2": "google/owlv2-base-patch16-ensemble",
    "owlv2-large": "google/owlv2-large-patch14-ensemble",
    "llmdet_tiny": "iSEE-Laboratory/llmdet_tiny",
    "llmdet_base": "iSEE-Laboratory/llmdet_base",
    "llmdet_large": "iSEE-Laboratory/llmdet_large",
    "grounding-dino": "IDEA-Research/grounding-dino-tiny",
    "mm-grounding-dino": "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det",
}
"""Detectors by short names, and theirs on the hub."""


def proposer(name: str, encoder: Encoder, device: str | None = None) -> Proposer:
    """Return the proposer of a name.

    Args:
        name: "dense", one of `DETECTORS`, a detector of transformers on the hub or in a folder, a file of proposals
            (.jsonl), a folder that the recipe `fvit` wrote, or annotations in COCO's format (.json)
        encoder: For "dense".
        device: Where a detector runs. None: on the GPU if there is one.

    Raises:
        ValueError: If there is no such proposer, or what it needs is not installed.
    """
    if name == "dense":
        return Dense(encoder)
    if name.endswith((SUFFIX, ".json")):
        return FromFile(Path(name)) if name.endswith(SUFFIX) else GroundTruth(Path(name))
    if (Path(name) / CONFIG).is_file():
        return Trained(Path(name), device=device)
    return OpenVocabulary(DETECTORS.get(name, name), device)


@dataclass(frozen=True)
class OpenVocabulary:
    """A detector of transformers of whichever kind, which is opened when it is asked first.

    Attributes:
        name: On the hub, or a folder.
        device: Where it runs. None: on the GPU if there is one.
        words: Ask OWLv2 for scores of names, too.
    """

    name: str
    device: str | None = None
    words: bool = False

    def propose(self, pictures: Sequence[Photo], names: Sequence[Sequence[str]]) -> list[Proposals]:
        """Return the proposals of each picture, see `Owl` and `Grounding`.

        Raises:
            ValueError: If transformers is not installed, there is no such detector, or a picture is broken.
        """
        return self._opened().propose(pictures, names)

    def _opened(self) -> Owl | Grounding:
        kind = str(open_detector(self.name, self.device)[0].config.model_type)
        if kind.startswith("owl"):
            return Owl(self.name, words=self.words, device=self.device)
        if kind in ("grounding-dino", "mm-grounding-dino"):
            return Grounding(self.name, device=self.device)
        raise ValueError(
            f"'{self.name}' is a detector of kind '{kind}'. Known are OWLv2, OWL-ViT and Grounding DINO's."
        )
