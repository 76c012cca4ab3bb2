"""`foveal annotate`."""

from pathlib import Path
from typing import Annotated

import typer


def annotate(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A folder of pictures, or anything `train --data` takes.")
    ],
    out: Annotated[Path, typer.Option(help="*.jsonl, *.json (FineHARD), *.parquet, or a folder of shards.")],
    stages: Annotated[
        str, typer.Option(help="Any of caption, phrases, ground, negatives, filter, in the order wanted.")
    ] = "caption,phrases,ground,negatives,filter",
    endpoint: Annotated[str | None, typer.Option(help="OpenAI-compatible, such as http://localhost:8000/v1.")] = None,
    model: Annotated[str | None, typer.Option(help="The model's name at the endpoint.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for many cores or machines.")] = "local",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew; answers paid for are kept.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try the samples again that failed, and only those.")] = False,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="stage.field=value or assistant.field=value. Repeatable.")
    ] = None,
) -> None:
    """Make training data of plain pictures: long captions, phrases with boxes, near misses, filtered.

    Without an endpoint, captions must be there already (`cat.txt` beside `cat.jpg`, or in IN's own format); give
    `--stages phrases,ground,negatives,filter`. With one, mind `--set assistant.key_variable=NAME` (the variable that
    holds your key), `assistant.concurrency=64`, `assistant.price_in=0.5` and `assistant.price_out=1.5` (of a million
    tokens). OUT.annotation holds the run's memory, answers included: a killed run goes on with `--resume` and pays for
    nothing twice. It also holds report.html, a page to look through, and failed.jsonl.
    """
    from ..annotation.inputs import open_input
    from ..annotation.output import Output
    from ..annotation.pipeline import Annotation, beginning, engine_of
    from ..annotation.settings import Settings
    from ..annotation.stages import assemble, assistant_of
    from ..training.feed import open_data
    from ..training.run import override

    begin = beginning(resume=resume, overwrite=overwrite, retry=retry)
    output = Output(out)
    assistant = assistant_of(endpoint, model, output.memory / "answers.sqlite", fresh=retry)
    settings, parts = assemble(stages.split(","), Settings(assistant=assistant), change or [], override)
    opened = open_input(source, open_data)
    run = Annotation(opened, source, parts, output, settings.assistant, settings.near_duplicates)
    print(run.run(begin, engine_of(engine, settings.workers)))
