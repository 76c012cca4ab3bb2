"""Where in a picture is what words say: boxes and label maps of pictures that come with the request."""

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter, Request
from PIL import Image

from . import wire
from .bodies import either_body, read_body
from .errors import RefusedError
from .service import Service

if TYPE_CHECKING:  # these bring torch, which a file in serving does not
    from ..encoder import Encoder
    from ..types import Segmentation

_LABELLED_AT_ONCE = 4  # pictures; the labels and confidences of one take up to 28 MiB


@dataclass(frozen=True)
class Detect:
    """Boxes of the same names in many pictures.

    Attributes:
        encoder: Proposes boxes by its dense features, and says what they show.
        names: What is looked for.
        threshold: Least score.
        k: Most boxes of a picture.
    """

    encoder: "Encoder"
    names: tuple[str, ...]
    threshold: float
    k: int

    def __call__(self, pictures: Sequence[Image.Image]) -> list[list[wire.NamedBox]]:
        """Return the boxes of each picture, surest first."""
        from ..detection.detect import OF_DENSE, detect

        rescoring = replace(OF_DENSE, threshold=self.threshold, top=self.k)
        return [
            [
                wire.NamedBox(name=self.names[label], box=box, score=score)
                for box, score, label in zip(
                    boxes.boxes.tolist(), boxes.score.tolist(), boxes.label.tolist(), strict=True
                )
            ]
            for boxes in detect(self.encoder, pictures, self.names, rescoring=rescoring)
        ]


@dataclass(frozen=True)
class Segment:
    """Labels of the pixels of many pictures, by the same names.

    Attributes:
        encoder: Says what a pixel shows.
        names: That compete for every pixel.
        background: Names whose pixels get no label.
        threshold: Pixels of less confidence get no label.
    """

    encoder: "Encoder"
    names: tuple[str, ...]
    background: tuple[str, ...]
    threshold: float

    def __call__(self, pictures: Sequence[Image.Image]) -> list[wire.Areas]:
        """Return the labels and areas of each picture."""
        from ..encoder.segmenting import Segmenting

        settings = Segmenting(threshold=self.threshold)
        areas: list[wire.Areas] = []
        for start in range(0, len(pictures), _LABELLED_AT_ONCE):
            few = pictures[start : start + _LABELLED_AT_ONCE]
            labelled = self.encoder.segment(few, self.names, background=self.background, settings=settings)
            areas += map(_areas, labelled)
        return areas


def locating(service: Service) -> APIRouter:
    """Return the endpoints that say where in a picture things are."""
    router = APIRouter(tags=["locate"])
    encoder = cast("Encoder", service.encoder)

    @router.post("/detect", openapi_extra=either_body(wire.DetectRequest))
    async def detect(request: Request) -> wire.Boxes:
        """Return boxes of what names say, in a picture that comes with the request."""
        start = time.perf_counter()
        query, image = await read_body(wire.DetectRequest, request)
        picture = await _picture(service, query.names, image)
        work = Detect(encoder, tuple(query.names), query.threshold, service.bounded(query.k, "boxes"))
        boxes = (await service.compute(work, [picture]))[0]
        return wire.Boxes(boxes=boxes, seconds=round(time.perf_counter() - start, 4))

    @router.post("/segment", openapi_extra=either_body(wire.SegmentRequest))
    async def segment(request: Request) -> wire.Areas:
        """Return a label for every pixel of a picture that comes with the request."""
        start = time.perf_counter()
        query, image = await read_body(wire.SegmentRequest, request)
        words = [word for name in (*query.names, *query.background) for word in name.split("|")]
        picture = await _picture(service, words, image)
        work = Segment(encoder, tuple(query.names), tuple(query.background), query.threshold)
        areas = (await service.compute(work, [picture]))[0]
        return areas.model_copy(update={"seconds": round(time.perf_counter() - start, 4)})

    return router


async def _picture(service: Service, names: Sequence[str], image: bytes | None) -> Image.Image:
    """Return the decoded picture of a request whose names are within the limits."""
    service.check_count(len(names), "names")
    service.check_texts(names)
    if image is None:
        raise RefusedError(400, "A picture is missing. Send it as image, in base64 or as a form's file.")
    return await service.decode(image)


def _areas(segmentation: "Segmentation") -> wire.Areas:
    from ..segmentation.show import labels_picture

    labels, confidence = segmentation.labels, segmentation.confidence
    numbers, counts = labels[labels >= 0].unique(return_counts=True)
    areas = [
        wire.NamedArea(
            name=segmentation.names[number],
            share=count / labels.numel(),
            confidence=float(confidence[labels == number].mean()),
        )
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
    ]
    content = BytesIO()
    labels_picture(segmentation).save(content, "PNG")
    return wire.Areas(
        labels=base64.b64encode(content.getvalue()).decode(),
        width=labels.shape[1],
        height=labels.shape[0],
        areas=sorted(areas, key=lambda area: -area.share),
        seconds=0.0,
    )
