"""`foveal eval`."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder, checkpoint file or hub name.")],
    benchmarks: Annotated[
        list[str], typer.Argument(help="Names, such as scenes or fg_ovd_hard. A wrong one lists all.")
    ],
    root: Annotated[Path, typer.Option("--data", help="Folder with coco/, fg_ovd/, sugar_crepe/.")] = Path(),
    similarity: Annotated[
        str,
        typer.Option(help="How whole pictures and texts are compared: global, late, fused, parts, or a model's own."),
    ] = "global",
    out: Annotated[Path | None, typer.Option(help="Write all numbers and every query's rank into this folder.")] = None,
    scaled_decoding: Annotated[
        bool, typer.Option(help="Decode large JPEGs at a part of their size, as an index has it: faster, less exact.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = 64,
) -> None:
    """Measure a model on benchmarks: recall, choice among hard negatives, regions; with 95 % intervals."""
    from ..encoder.load import load
    from ..evaluation.evaluate import evaluate as measure
    from ..evaluation.report import table

    encoder = load(model)
    encoder.batch_size, encoder.progress = batch_size, True
    report = measure(
        encoder, benchmarks, root, model=Path(model).name, similarity=similarity, scaled_decoding=scaled_decoding
    )
    print(table([report]))
    if out is not None:
        report.write(out)
