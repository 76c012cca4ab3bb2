"""`foveal detect`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .words import Texts, Words


def detect(  # an argument for each option
    model: Annotated[str, typer.Argument(help="Name, hub name or folder of a model; `starter` needs no download.")],
    words: Words,
    texts: Texts = None,
    boxes: Annotated[
        str,
        typer.Option(
            help="Where boxes come from: dense (the model itself), owlv2, llmdet_tiny, grounding-dino, one of these "
            "from a hub name or folder, runs/fvit, proposals in a file (.jsonl), or COCO's annotations (.json)."
        ),
    ] = "dense",
    rule: Annotated[
        Literal["box", "class"] | None,
        typer.Option(
            help="How detector and model are joined: one detector's score a box, or one for each name.",
            show_default="class for dense and runs/fvit, else box",
        ),
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Least score.")] = 0.0,
    top: Annotated[int, typer.Option(min=1, help="Boxes of a photo.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write boxes to this file: COCO's results, as JSON.")] = None,
    drawn: Annotated[
        Path | None, typer.Option("--draw", help="Draw the boxes into this PNG; with several photos, a folder.")
    ] = None,
) -> None:
    """Find what words name in photos, with any model: boxes with scores, as a table, JSON and a drawn picture.

    For example: `foveal detect starter photos/*.jpg "a red mug" "a dog" --out boxes.json --draw drawn`
    """
    from dataclasses import replace

    from ..detection.detect import detect as find
    from ..detection.detect import usual
    from ..detection.lookup import proposer
    from ..detection.show import as_results, as_table, draw
    from ..encoder.load import load
    from ..encoder.prompts import check_names
    from ..writing import replacing
    from .photos import photos_and_names, write_pictures

    photos, names = photos_and_names(words, texts or ())
    check_names(names)
    encoder = load(model)
    source = proposer(boxes, encoder)
    rescoring = replace(usual(source), threshold=threshold, top=top)
    rescoring = replace(rescoring, rule=rule) if rule else rescoring
    detections = find(encoder, photos, names, proposals=source, rescoring=rescoring)
    print(f"boxes={boxes} {rescoring}", as_table(photos, detections), sep="\n")
    if out is not None:
        with replacing(out) as unfinished:
            unfinished.write_text(as_results(photos, detections), encoding="utf-8")
    write_pictures(drawn, photos, map(draw, photos, detections))
