"""Zero-shot classification: class names, put into prompts, compete for a picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..encoder.prompts import PLAIN, ensemble, filled
from ..types import Kind, Sample
from .bootstrap import mean_of_means
from .encoded import Encoded, Needs
from .ranking import Ranks, hits
from .result import Metric, Queries, Result, Ties, measure

_QUERIES = 4096  # compared with all classes at once

_PHOTO = "bad|low resolution|cropped|bright|dark|close-up|black and white|pixelated|jpeg corrupted|blurry|good"
_QUALITIES = "hard to see|clean|dirty|cool|large|nice|weird|small"
_WORK = "a photo|a sculpture|a rendering|a tattoo|a drawing|a painting|a doodle|a sketch|a rendition|graffiti|art|itap"
_MATERIALS = "embroidered|plastic|origami|toy|cartoon|plushie"


def imagenet_prompts() -> tuple[str, ...]:
    """The 80 prompts that CLIP's authors published for ImageNet (arXiv:2103.00020, section 3.1.4).

    All but four come with either article, so they are put together here. Their order changes no result.
    """
    prompts = ["a photo of many {}.", "a photo of one {}.", "a photo of my {}.", "itap of my {}."]
    for article in ("a", "the"):
        prompts += [f"a {style} photo of {article} {{}}." for style in _PHOTO.split("|")]
        prompts += [f"a photo of {article} {style} {{}}." for style in _QUALITIES.split("|")]
        prompts += [f"{work} of {article} {{}}." for work in _WORK.split("|")]
        prompts += [f"{article} {material} {{}}." for material in _MATERIALS.split("|")]
        prompts += [f"{article} {{}} in a video game."]
    return tuple(prompts)


def class_ranks(similarity: Float[Tensor, "Q C"], label: Int[Tensor, " Q"]) -> Ranks:
    """Return where the right class stands.

    Args:
        similarity: Of every query to every class.
        label: The right class of each query.
    """
    score = similarity.gather(1, label[:, None])
    wrong = similarity.scatter(1, label[:, None], -torch.inf)
    above, tied = (~(wrong <= score)).sum(dim=1), (wrong == score).sum(dim=1)
    return Ranks(above + 1, tied, torch.ones_like(tied), score[:, 0], wrong.amax(dim=1))


def class_metrics(
    ranks: Ranks, label: Int[Tensor, " Q"], picture: Int[Tensor, " Q"], ties: Ties = "against"
) -> dict[str, Metric]:
    """Top-1 and top-5 accuracy in percent, and the mean over classes of top-1.

    Args:
        ranks: Of the right class of each query.
        label: The right class of each query.
        picture: Which picture each query is about.
        ties: What a class that scores exactly as the right one does.
    """
    first = 100 * hits(ranks, 1, ties)
    return {
        "top1": measure(first, picture),
        "top5": measure(100 * hits(ranks, 5, ties), picture),
        "top1_mean_of_classes": measure(first, picture, mean_of_means(label)),
    }


@dataclass(frozen=True)
class Classification:
    """Which class a whole picture shows. A sample's first caption is its class.

    Attributes:
        classes: All that compete; captions outside are refused. None: those that the samples name.
        prompts: With {} for the class name; more than one make an ensemble.
        kind: How prompts are encoded.
        synonyms: The names of each class; the best of them counts. Empty: a class is its own name.
        numbered: A sample's first caption is the number of its class, as two classes may have one name.
        ties: What a class that scores exactly as the right one does.
    """

    classes: tuple[str, ...] | None = None
    prompts: tuple[str, ...] = PLAIN
    kind: Kind = "caption"
    synonyms: tuple[tuple[str, ...], ...] = ()
    numbered: bool = False
    ties: Ties = "against"

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
        names = self._names([sample.captions[0] for sample in samples if sample.captions])
        all_names = [name for group in self.synonyms for name in group] or names
        return Needs({self.kind: filled(self.prompts, all_names)})

    def __call__(self, encoded: Encoded) -> Result:
        """Compare pictures and classes."""
        numbers = [number for number, sample in enumerate(encoded.samples) if sample.captions]
        labels = [encoded.samples[number].captions[0] for number in numbers]
        picture = encoded.picture[torch.tensor(numbers)]
        names = self._names(labels)
        place = {name: number for number, name in enumerate(names)}
        label = torch.tensor([int(name) if self.numbered else place[name] for name in labels])
        classes = Classes(names, self.prompts, self.kind, self.synonyms, self.ties)
        return classify(encoded, encoded.images.embedding[picture], label, picture, classes)

    def _names(self, labels: Sequence[str]) -> tuple[str, ...]:
        if self.numbered and self.classes:
            return self.classes
        return class_names(self.classes, labels)


@dataclass(frozen=True)
class Classes:
    """What competes.

    Attributes:
        names: In the order of labels.
        prompts: With {} for the class name.
        kind: How prompts are encoded.
        synonyms: The names of each class; the best of them counts. Empty: a class is its own name.
        ties: What a class that scores exactly as the right one does.
    """

    names: tuple[str, ...]
    prompts: tuple[str, ...]
    kind: Kind
    synonyms: tuple[tuple[str, ...], ...] = ()
    ties: Ties = "against"


def classify(
    encoded: Encoded,
    queries: Float[Tensor, "Q E"],
    label: Int[Tensor, " Q"],
    picture: Int[Tensor, " Q"],
    classes: Classes,
) -> Result:
    """Compare queries (pictures or regions) with all classes.

    Args:
        encoded: Where the prompts are.
        queries: Unit length.
        label: The right class of each query.
        picture: Which picture each query is about.
        classes: All that compete.
    """
    groups = classes.synonyms or tuple((name,) for name in classes.names)
    all_names = [name for group in groups for name in group]
    text = encoded.embeddings(filled(classes.prompts, all_names), classes.kind)
    vectors = ensemble(text.unflatten(0, (len(all_names), len(classes.prompts))))
    ranks = _ranks(queries, vectors, [len(group) for group in groups], label)
    right = Queries(ranks.rank, picture, tied=ranks.tied, score=ranks.score, rival=ranks.rival)
    chance = 100 / len(classes.names)
    return Result(
        metrics=class_metrics(ranks, label, picture, classes.ties),
        queries={"classes": right},
        notes=(f"{len(groups):,} classes, {len(classes.prompts)} prompts each; chance {chance:.1f}",),
        tied=int((ranks.tied > 0).sum()),
    )


def _ranks(
    queries: Float[Tensor, "Q E"], vectors: Float[Tensor, "N E"], sizes: list[int], label: Int[Tensor, " Q"]
) -> Ranks:
    """Ranks of the right classes, some queries at a time. A class is as similar as the best of its names."""
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    parts = []
    for part, labels in zip(queries.split(_QUERIES), label.split(_QUERIES), strict=True):
        similarity = part @ vectors.T
        if len(group) > len(sizes):
            best = similarity.new_full((len(part), len(sizes)), -torch.inf)
            similarity = best.scatter_reduce(1, group.expand(len(part), -1), similarity, "amax")
        parts.append(class_ranks(similarity, labels))
    columns = zip(*((part.rank, part.tied, part.level, part.score, part.rival) for part in parts), strict=True)
    return Ranks(*map(torch.cat, columns))


def class_names(classes: tuple[str, ...] | None, labels: Sequence[str]) -> tuple[str, ...]:
    """All classes that compete.

    Raises:
        ValueError: If a query's class is not among them.
    """
    if classes is None:
        return tuple(dict.fromkeys(labels))
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise ValueError(f"'{unknown[0]}' is not among the {len(classes)} classes. Add it, or drop its samples.")
    return classes
