"""Measuring drawn pictures against captions, and against the real pictures that were captioned."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import cast

from ..data.formats.pictures import drawn_name
from ..encoder import Encoder
from ..outside import read_object
from ..types import Kind, Sample
from .benchmark import Benchmark, Files, Images
from .encoded import Encoded, Needs
from .own import is_own, own
from .picture_features import PictureFeatures
from .pinned.reading import Roots, read
from .pinned.registry import find
from .pinned.tasks import measured
from .quality import clip_score, cmmd, frechet
from .report import Report
from .result import Metric, Queries, Result, measure
from .retrieval import Retrieval

PREFIX = "images@"
SETTINGS = "imagine.json"
FULL_RANK = 2048
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipScore:
    """How well each picture fits its caption, by a model that reads both.

    Attributes:
        kind: How captions are read. Those longer than the model's length are cut, and keep their end mark.
    """

    kind: Kind = "caption"

    @property
    def name(self) -> str:
        """Of the kind of text."""
        return "clip_score" if self.kind == "caption" else f"clip_score_{self.kind}"

    @property
    def unit(self) -> str:
        """A picture has a caption."""
        return "captions"

    def count(self, samples: Iterable[Sample]) -> int:
        """How many captions there are."""
        return sum(len(sample.captions) for sample in samples)

    def needs(self, samples: Sequence[Sample]) -> Needs:
        """The captions."""
        return Needs({self.kind: [text for sample in samples for text in sample.captions]})

    def __call__(self, encoded: Encoded) -> Result:
        """Compare each picture with its captions."""
        pairs = [(number, text) for number, sample in enumerate(encoded.samples) for text in sample.captions]
        picture = encoded.picture[[number for number, _ in pairs]]
        score = clip_score(
            encoded.images.embedding[picture], encoded.embeddings((text for _, text in pairs), self.kind)
        )
        metrics = {"clip_score": measure(score, picture), "clip_score_w2.5": measure(score / 40, picture)}
        return Result(metrics, {"clip_score": Queries((score > 0).long(), picture, value=score)})


@dataclass(frozen=True)
class Judge:
    """A model that judges pictures by captions.

    Attributes:
        name: As the user named it.
        encoder: The model.
    """

    name: str
    encoder: Encoder

    @property
    def kind(self) -> Kind:
        """How it reads long texts best."""
        text = self.encoder.model.config.text
        return "long_caption" if text.length("long_caption") > text.length("caption") else "caption"


def measure_pictures(
    folder: Path,
    names: Sequence[str],
    roots: Sequence[Path],
    judges: Sequence[Judge],
    features: Sequence[PictureFeatures] = (),
) -> Report:
    """Measure drawn pictures on the captions of protocols.

    Args:
        folder: With a picture a caption, named as the protocol's picture (`foveal imagine --captions`).
        names: Of protocols with captions, or files of one's own.
        roots: Folders with their data.
        judges: Score pictures by captions, and look for each picture's caption among all.
        features: Compare the pictures with those of the protocol that are there.

    Returns:
        CLIP-scores with both usual weights, retrieval both ways, Fréchet distance and CMMD.

    Raises:
        ValueError: If the folder holds none of a protocol's pictures, or there is nothing to judge by.
    """
    if not judges and not features:
        raise ValueError("Nothing judges the pictures. Give --judge MODEL or --features foveal:MODEL.")
    results: dict[str, dict[str, Result]] = {}
    seconds: dict[str, float] = {}
    for name in names:
        start = perf_counter()
        samples, images = _captioned(name, roots)
        drawn = _drawn(folder, samples)
        results[name] = {}
        for judge in judges:
            warnings = _own_judge(folder, judge.name)
            for task, result in _judged(drawn, len(samples), judge).items():
                results[name][f"{task}:{Path(judge.name).stem}"] = replace(result, notes=(*result.notes, *warnings))
        for feature in features:
            results[name][f"distance:{feature.name}"] = _distances(drawn, samples, images, feature, folder)
        seconds[name] = perf_counter() - start
    return Report(f"{PREFIX}{folder.name}", "global", results, seconds)


def _captioned(name: str, roots: Sequence[Path]) -> tuple[Sequence[Sample], Images]:
    """Return the samples of a protocol, one caption each, and where its own pictures are."""
    if is_own(name):
        samples, images = tuple(own(name).benchmark.samples), cast("Images", Files())
    else:
        pinned = find(name)
        protocol = measured(pinned, read(pinned, Roots(tuple(roots))))
        samples, images = protocol.samples, protocol.data.images
    captioned = [
        replace(sample, captions=(sample.long_caption or sample.captions[0],), regions=())
        for sample in samples
        if sample.long_caption or sample.captions
    ]
    if not captioned:
        raise ValueError(f"{name} has no captions, so no pictures can be drawn of them.")
    return captioned, images


def _drawn(folder: Path, samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples that have a drawn picture, with that one."""
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in _ENDINGS}
    drawn = [replace(sample, image=files[drawn_name(sample)]) for sample in samples if drawn_name(sample) in files]
    if not drawn:
        raise ValueError(
            f"{folder} holds none of {len(samples):,} pictures, for example {drawn_name(samples[0])}.png."
            " Draw them first: foveal imagine PIPELINE --captions FILE --out DIR."
        )
    return drawn


def _judged(drawn: Sequence[Sample], total: int, judge: Judge) -> dict[str, Result]:
    """Return what a judge says of drawn pictures."""
    kinds: list[Kind] = ["caption"] if judge.kind == "caption" else ["caption", judge.kind]
    retrieval = Retrieval(read_as=judge.kind, equal_texts="any", ties="half")
    results = Benchmark(drawn, (*map(ClipScore, kinds), retrieval))(judge.encoder)
    for kind in kinds:
        limit = judge.encoder.model.config.text.length(kind)
        cut = sum(count > limit for count in judge.encoder.tokenizer.count([sample.captions[0] for sample in drawn]))
        task = ClipScore(kind).name
        note = f"{cut:,} captions are longer than {limit} tokens and cut, their end mark stays"
        results[task] = replace(results[task], notes=(*results[task].notes, note))
    return {task: replace(result, total=total) for task, result in results.items()}


def _distances(
    drawn: Sequence[Sample], samples: Sequence[Sample], images: Images, features: PictureFeatures, folder: Path
) -> Result:
    """Return how far the drawn pictures are from the real ones."""
    real = [
        sample.image if isinstance(sample.image, bytes) else images.load(sample.image)
        for sample in samples
        if isinstance(sample.image, bytes) or images.holds(sample.image)
    ]
    if len(real) < 2:
        raise ValueError(f"{len(real)} of {len(samples):,} real pictures are there, to compare with. Get them first.")
    left, right = features.compute([sample.image for sample in drawn]), features.compute(real)
    values = {
        f"frechet@{features.name}-{len(drawn)}": frechet(left, right),
        f"cmmd@{features.name}-{len(drawn)}": cmmd(left, right),
    }
    notes = [f"{len(drawn):,} drawn pictures against {len(real):,} real ones, no intervals"]
    if min(len(drawn), len(real)) < max(FULL_RANK, left.shape[1]):
        fewest = min(len(drawn), len(real))
        notes.append(f"{fewest:,} pictures are few: the Fréchet distance of less than {FULL_RANK:,} is too large")
    metrics = {name: Metric(value, value, value, len(drawn)) for name, value in values.items()}
    notes += _own_judge(folder, features.model)
    return Result(metrics, {}, "pictures", len(drawn), len(samples), tuple(notes))


def _own_judge(folder: Path, model: str) -> list[str]:
    """Return a warning, which is logged too, if a model judges pictures that its own text encoder was read for."""
    if not (folder / SETTINGS).is_file():
        return []
    encoder = str(read_object(folder / SETTINGS).get("text_encoder", ""))
    if not encoder or (encoder != model and Path(encoder).resolve() != Path(model).resolve()):
        return []
    warning = f"{model} judges pictures drawn with its own text encoder, which favors them: take another judge"
    _log.warning("%s.", warning)
    return [warning]
