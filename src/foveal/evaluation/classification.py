"""Zero-shot classification: class names, put into prompts, compete for a picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..encoder.prompts import PLAIN, ensemble, filled
from ..types import Kind, Sample
from .bootstrap import mean_of_means
from .encoded import Encoded, Needs
from .result import Metric, Queries, Result, measure

_PHOTO = "bad|low resolution|cropped|bright|dark|close-up|black and white|pixelated|jpeg corrupted|blurry|good"
_SHOWN = "hard to see|clean|dirty|cool|large|nice|weird|small"
_WORK = "a photo|a sculpture|a rendering|a tattoo|a drawing|a painting|a doodle|a sketch|a rendition|graffiti|art|itap"
_MADE = "embroidered|plastic|origami|toy|cartoon|plushie"


def imagenet_prompts() -> tuple[str, ...]:
    """The 80 prompts that CLIP's authors published for ImageNet (arXiv:2103.00020, section 3.1.4).

    All but four come with either article, so they are put together here. Their order changes no result.
    """
    prompts = ["a photo of many {}.", "a photo of one {}.", "a photo of my {}.", "itap of my {}."]
    for article in ("a", "the"):
        prompts += [f"a {how} photo of {article} {{}}." for how in _PHOTO.split("|")]
        prompts += [f"a photo of {article} {how} {{}}." for how in _SHOWN.split("|")]
        prompts += [f"{work} of {article} {{}}." for work in _WORK.split("|")]
        prompts += [f"{article} {made} {{}}." for made in _MADE.split("|")]
        prompts += [f"{article} {{}} in a video game."]
    return tuple(prompts)


def among_first(similarity: Float[Tensor, "Q C"], label: Int[Tensor, " Q"], k: int) -> Bool[Tensor, " Q"]:
    """Whether the right class is among the k most similar; ties and NaN count against the model.

    Args:
        similarity: Of every query to every class.
        label: The right class of each query.
        k: How many guesses. With as many as there are classes all are right.
    """
    own = similarity.gather(1, label[:, None])
    return (~(similarity < own)).sum(dim=1) <= k


def class_metrics(
    similarity: Float[Tensor, "Q C"], label: Int[Tensor, " Q"], picture: Int[Tensor, " Q"]
) -> dict[str, Metric]:
    """Top-1 and top-5 accuracy in percent, and the mean over classes of top-1.

    Args:
        similarity: Of every query to every class.
        label: The right class of each query.
        picture: Which picture each query is about.
    """
    first = among_first(similarity, label, 1)
    return {
        "top1": measure(first, picture),
        "top5": measure(among_first(similarity, label, 5), picture),
        "top1_mean_of_classes": measure(first, picture, mean_of_means(label)),
    }


@dataclass(frozen=True)
class Classification:
    """Which class a whole picture shows. A sample's first caption is its class.

    Attributes:
        classes: All that compete; captions outside are refused. None: those that the samples name.
        prompts: With {} for the class name; more than one make an ensemble.
        kind: How prompts are encoded.
    """

    classes: tuple[str, ...] | None = None
    prompts: tuple[str, ...] = PLAIN
    kind: Kind = "caption"

    @property
    def name(self) -> str:
        """Of the task."""
        return "classification"

    @property
    def unit(self) -> str:
        """A sample is one query."""
        return "pictures"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many samples have a class."""
        return sum(bool(sample.captions) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """Every class in every prompt."""
        names = class_names(self.classes, [sample.captions[0] for sample in samples if sample.captions])
        return Needs({self.kind: filled(self.prompts, names)})

    def __call__(self, encoded: Encoded) -> Result:
        """Compare pictures and classes."""
        asked = [number for number, sample in enumerate(encoded.samples) if sample.captions]
        own = [encoded.samples[number].captions[0] for number in asked]
        picture = encoded.picture[torch.tensor(asked)]
        return classify(encoded, encoded.images.embedding[picture], own, picture, self.classes, self.prompts, self.kind)


def classify(
    encoded: Encoded,
    queries: Float[Tensor, "Q E"],
    own: Sequence[str],
    picture: Int[Tensor, " Q"],
    classes: tuple[str, ...] | None,
    prompts: tuple[str, ...],
    kind: Kind,
) -> Result:
    """Compare queries (pictures or regions) with all classes.

    Args:
        encoded: Where the prompts are.
        queries: Unit length.
        own: The right class of each query.
        picture: Which picture each query is about.
        classes: All that compete, or None: those that are right for some query.
        prompts: With {} for the class name.
        kind: How prompts were encoded.
    """
    names = class_names(classes, own)
    number = {name: row for row, name in enumerate(names)}
    label = torch.tensor([number[name] for name in own])
    text = encoded.embeddings(filled(prompts, names), kind)
    similarity = queries @ ensemble(text.unflatten(0, (len(names), len(prompts)))).T
    right = Queries(among_first(similarity, label, 1).long(), picture)
    return Result(
        metrics=class_metrics(similarity, label, picture),
        queries={"top1": right},
        notes=(f"{len(names):,} classes, {len(prompts)} prompts each; chance {100 / len(names):.1f}",),
    )


def class_names(classes: tuple[str, ...] | None, own: Sequence[str]) -> tuple[str, ...]:
    """All classes that compete.

    Raises:
        ValueError: If a query's class is not among them.
    """
    if classes is None:
        return tuple(dict.fromkeys(own))
    unknown = sorted(set(own) - set(classes))
    if unknown:
        raise ValueError(f"'{unknown[0]}' is not among the {len(classes)} classes. Add it, or drop its samples.")
    return classes
