"""One call: pictures and words in, labelled boxes out."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from ..encoder import Encoder
from ..encoder.pictures import Picture, check_many, upright_size
from ..encoder.pictures import readable as read_picture
from ..encoder.prompts import check_names
from ..types import Box, Detections
from .dense import BACKGROUND, Dense
from .proposals import Photo, Proposals, Proposer
from .rescore import Rescoring, probabilities
from .trained import Trained

SMALLEST = 8  # pixels of a side
OF_DENSE = Rescoring(rule="class", after=0.3)
"""How proposals of dense features are joined with the model, if nobody says otherwise: they are scored name by name."""
OF_TRAINED = Rescoring(rule="class", power=0.0, before=1.0, after=0.4)
"""Likewise of a trained F-ViT, which has joined its head with its encoder itself."""
_AT_ONCE = 16  # pictures


def detect(
    encoder: Encoder,
    pictures: Sequence[Picture],
    names: Sequence[str],
    *,
    proposals: Proposer | None = None,
    templates: Sequence[str] = ("{}",),
    background: Sequence[str] = BACKGROUND,
    rescoring: Rescoring | None = None,
) -> list[Detections]:
    """Return where things are that words name.

    Args:
        encoder: Says what a box shows.
        pictures: Any number.
        names: What is looked for: words or phrases.
        proposals: Says where something may be. None: the encoder's own dense features, see `Dense`.
        templates: Prompts with {} for the name.
        background: Texts that compete with the names and are not reported. Empty for published protocols.
        rescoring: How both are joined. None: the way that is `usual` for the proposer.

    Returns:
        Of each picture, surest first.

    Raises:
        ValueError: If there is no name, one comes twice, or there are more than 4,000; if a picture is broken or has
            less than 8 pixels a side; if the proposer is missing something.
    """
    check_names(names)
    photos = [_photo(picture, encoder) for picture in check_many(pictures)]
    sizes = [_size(photo) for photo in photos]
    proposer = proposals or Dense(encoder)
    rescoring = rescoring or usual(proposer)
    texts = encoder.encode_classes(names, templates)
    against = encoder.encode_texts(background, "phrase") if background else texts[:0]
    scale = encoder.scale("phrase") if rescoring.scale is None else rescoring.scale
    detections = []
    for start in range(0, len(photos), _AT_ONCE):
        batch = photos[start : start + _AT_ONCE]
        thinned = [rescoring.thinned(boxes) for boxes in proposer.propose(batch, [names] * len(batch))]
        for number, (boxes, regions) in enumerate(
            zip(thinned, region_embeddings(encoder, batch, thinned), strict=True)
        ):
            labelled = rescoring(boxes, probabilities(regions @ texts.T, regions @ against.T, scale))
            detections.append(Detections(*labelled, tuple(names), *sizes[start + number]))
    return detections


def usual(proposer: Proposer) -> Rescoring:
    """Return how a proposer's boxes are joined with the model, if nobody says otherwise."""
    if isinstance(proposer, Dense):
        return OF_DENSE
    return OF_TRAINED if isinstance(proposer, Trained) else Rescoring()


def _photo(picture: Picture, encoder: Encoder) -> Photo:
    photo = read_picture(picture, allow_urls=encoder.allow_urls)
    return ImageOps.exif_transpose(photo) if isinstance(photo, Image.Image) else photo


def region_embeddings(
    encoder: Encoder, pictures: Sequence[Photo], proposals: Sequence[Proposals]
) -> Iterator[Float[Tensor, "R E"]]:
    """Yield the embeddings of each picture's boxes."""
    boxes: list[list[Box]] = [[_box(row) for row in rows.boxes.tolist()] for rows in proposals]
    yield from encoder.encode_regions(pictures, boxes)


def _box(row: list[float]) -> Box:
    x0, y0, x1, y1 = row
    return x0, y0, x1, y1


def _size(photo: Photo) -> tuple[int, int]:
    """Return width and height of a picture turned upright.

    Raises:
        ValueError: If it is too small to hold boxes.
    """
    width, height = upright_size(photo)
    if min(width, height) < SMALLEST:
        name = photo.name if isinstance(photo, Path) else "A picture"
        raise ValueError(f"{name} has {width} x {height} pixels. Boxes need {SMALLEST} a side at least.")
    return width, height
