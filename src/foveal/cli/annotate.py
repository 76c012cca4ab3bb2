"""`foveal annotate`."""

from pathlib import Path
from typing import Annotated

import typer


def annotate(  # noqa: PLR0913  # options of a command
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A folder of pictures, or what else `train --data` takes.")
    ],
    out: Annotated[
        Path, typer.Option(help="*.jsonl, *.json (FineHARD), *.parquet, *.csv, *.tsv, *.tar, or a folder of shards.")
    ],
    stages: Annotated[
        str, typer.Option(help="Any of caption, phrases, ground, negatives, filter, in the order wanted.")
    ] = "caption,phrases,ground,negatives,filter",
    image_column: Annotated[
        str | None, typer.Option(help="Column of the pictures, where its name does not say so.")
    ] = None,
    caption_column: Annotated[str | None, typer.Option(help="Column of the captions, likewise.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="OpenAI-compatible address of a model that sees, as http://localhost:8000/v1.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name there. Goes with --endpoint.")] = None,
    engine: Annotated[
        str, typer.Option(help="local (this machine; `--set workers=4` for four processes), or ray (many machines).")
    ] = "local",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew; answers paid for are kept.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try the samples again that failed, and only those.")] = False,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Another setting, as above. Repeatable."),
    ] = None,
) -> None:
    """Make training data of plain pictures: long captions, phrases with boxes, hard negatives of each phrase, filtered.

    `caption` asks the endpoint. Without one, captions must be there already (`cat.txt` beside `cat.jpg`, or in IN's
    own format): give `--stages phrases,ground,negatives,filter`. `negatives` asks it too, and else follows rules.

    `--set contamination=SOURCE` keeps out the pictures and captions of what you will measure on: a folder of pictures,
    or anything that IN may be; `contamination=coco=val/` names it "coco" in the report.

    `--set` changes whatever else stages share: `encoder=NAME`, `detector=NAME` (what finds boxes; the default needs the
    extra `starter`), `near_duplicates=6` (drop pictures that were there before), `seed`, `workers`; a field of one
    stage, as `ground.threshold=0.3` or `negatives.wordnet=/usr/share/wordnet`; or of the endpoint:
    `assistant.key_variable=NAME` (of the environment variable that holds your key), `assistant.concurrency=64`,
    `assistant.price_in=0.5` and `assistant.price_out=1.5` (of a million tokens). docs/annotation.md has them all.

    OUT appears when all is done. Until then OUT.annotation keeps the work and all answers: a killed run goes on with
    `--resume` and pays for nothing twice. There are also report.html, a page to look through, and failed.jsonl.
    The exit code is 1 where samples failed and none came through.

    For example: `foveal annotate photos --out shards --endpoint http://localhost:8000/v1 --model NAME`
    """
    from ..annotation import Annotation, Output, Settings
    from ..annotation.run.pipeline import beginning, engine_of
    from ..annotation.stages.lookup import assemble, assistant_of
    from ..data.formats.source import with_columns
    from ..data.numbered import open_input
    from ..outside import printable
    from ..training.feed import open_data

    begin = beginning(resume=resume, overwrite=overwrite, retry=retry)
    output = Output(out)
    assistant = assistant_of(endpoint, model, output.memory / "answers.sqlite", fresh=retry)
    settings, parts = assemble(stages.split(","), Settings(assistant=assistant), change or [])
    source = with_columns(source, image_column, caption_column)
    opened = open_input(source, open_data)
    run = Annotation(opened, source, parts, output, settings.assistant, settings.near_duplicates)
    summary = run.run(begin, engine_of(engine, settings.workers, asks=settings.assistant is not None))
    print(printable(str(summary), keep="\n"))
    if summary.is_vain:
        raise typer.Exit(1)
