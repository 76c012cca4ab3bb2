"""`foveal segment`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .words import Texts, Words


def segment(  # noqa: PLR0913  # an argument for each option
    model: Annotated[str, typer.Argument(help="Name, hub name or folder of a model; `starter` needs no download.")],
    words: Words,
    texts: Texts = None,
    background: Annotated[list[str] | None, typer.Option(help="A name of what is background.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Pixels of less confidence are background.")] = 0.0,
    attention: Annotated[
        Literal["model", "identity", "maskclip", "sclip", "clearclip"],
        typer.Option(help="How the last block is read: as the model was trained, or as papers without training do."),
    ] = "model",
    short: Annotated[
        int | None,
        typer.Option(min=16, help="Scale the shorter side to this, aspect kept.", show_default="as the model sees it"),
    ] = None,
    window: Annotated[int | None, typer.Option(min=16, help="Look at square windows of this side one by one.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write labels into this PNG (0 background, 1 the first name); or a folder.")
    ] = None,
    drawn: Annotated[
        Path | None, typer.Option("--draw", help="Lay labels over the photo, into this PNG or folder.")
    ] = None,
    confidence: Annotated[Path | None, typer.Option(help="Write confidences into this PNG or folder.")] = None,
) -> None:
    """Label every pixel of photos with one of your words, without training: a label map, an overlay, confidences.

    A name may be several words, of which the best counts: "dog|puppy".

    For example: `foveal segment starter photo.jpg sky tree "dog|puppy" --out labels.png --draw overlay.png`
    """
    from ..encoder.load import load
    from ..encoder.segmenting import Segmenting
    from ..segmentation.show import as_table, confidence_picture, labels_picture, overlay
    from .photos import photos_and_names, write_pictures

    photos, names = photos_and_names(words, texts or ())
    settings = Segmenting(attention, short, window, threshold=threshold)
    segmentations = load(model).segment(photos, names, background=background or (), settings=settings)
    print(settings, as_table(photos, segmentations), sep="\n")
    write_pictures(out, photos, map(labels_picture, segmentations))
    write_pictures(drawn, photos, map(overlay, photos, segmentations))
    write_pictures(confidence, photos, map(confidence_picture, segmentations))
