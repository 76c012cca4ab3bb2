"""`foveal eval`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .machine import Threads, use_threads


def _refuse_data(value: list[str] | None) -> None:
    if value:
        raise ValueError("Protocols' files lie below --root DIR. (--data is what `foveal train` reads.)")


def evaluate(  # noqa: PLR0913  # a switch each
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL PROTOCOL...",
            help="A model folder, checkpoint file or hub name, and what it is measured on: names such as urban1k@1000, "
            "groups such as @long, or files of your own. With --list, --explain, --check or --pin: names alone. "
            "images@DIR for MODEL: pictures drawn of a protocol's captions. endpoint:URL#NAME for MODEL: a model that "
            "answers in words behind an OpenAI-compatible endpoint.",
            show_default=False,
        ),
    ] = None,
    roots: Annotated[
        list[Path] | None,
        typer.Option("--root", help="Folder with the protocols' files; several are searched in order. [default: .]"),
    ] = None,
    similarity: Annotated[
        str,
        typer.Option(help="How whole pictures and texts are compared: global, late, fused, parts, or a model's own."),
    ] = "global",
    boxes: Annotated[
        str, typer.Option(help="Where the boxes of detection come from: dense, owlv2, runs/fvit, boxes.jsonl, ...")
    ] = "dense",
    dtype: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="bf16 is faster and moves single queries.")
    ] = "fp32",
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(help="Write all numbers and every query's rank into this folder.")] = None,
    scaled_decoding: Annotated[
        bool, typer.Option(help="Decode large JPEGs at a part of their size, as an index has it: faster, less exact.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = 64,
    training: Annotated[
        str | None, typer.Option(help="Training data: count the protocol's pictures and texts that stand in them.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Keep encodings in this folder, for later calls with the same model; a killed one goes on."),
    ] = None,
    judge: Annotated[
        list[str] | None, typer.Option(help="images@DIR: a model that scores the pictures by their captions.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(help="images@DIR: distance from the real pictures by foveal:MODEL, dinov2:FOLDER or onnx:FILE."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Measure the first rows alone; not the protocol.")] = None,
    strict: Annotated[bool, typer.Option(help="Exit 1 if pictures are missing or data differ.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List protocols, all or those with a word.")] = False,
    explain: Annotated[bool, typer.Option(help="Say what a protocol measures, its files, rules and numbers.")] = False,
    check: Annotated[bool, typer.Option(help="Compare the data at hand with what is pinned; no model.")] = False,
    pin: Annotated[bool, typer.Option(help="Print hash and counts of the data at hand, for the registry.")] = False,
    _: Annotated[list[str] | None, typer.Option("--data", hidden=True, callback=_refuse_data)] = None,
) -> None:
    """Measure a model on protocols by name, with 95 % intervals and the published numbers it may be compared with.

    First see what there is (`--list long`), what a protocol needs and where its files go (`--explain urban1k@1000`),
    and whether yours are the right ones (`--check urban1k@1000`). Then measure. OUT gets `report.json`, and the rank of
    each query for `foveal compare` and `foveal board`. A file of your own (`mine.jsonl`) may stand for a protocol.

    For example: `foveal eval runs/mine urban1k@1000 @long --root data --out reports/mine`
    """
    from ..evaluation.pinned.cards import cards, checks, pins
    from ..evaluation.pinned.cards import listed as listing
    from ..evaluation.pinned.reading import Roots

    use_threads(threads)
    names, folders = words or [], roots or [Path()]
    if listed:
        print(listing(names, folders))
    elif explain:
        print(cards(names, Roots(tuple(folders))))
    elif pin:
        print(pins(names, Roots(tuple(folders))))
    elif check:
        said, right = checks(names, Roots(tuple(folders)))
        print(said)
        raise typer.Exit(0 if right else 1)
    elif names and names[0].startswith("images@"):
        _measure_pictures(names, folders, judge or [], features or [], out)
    elif names and (names[0].startswith("endpoint:") or _is_llava(Path(names[0]))):
        _measure_answers(names, folders, limit, out)
    elif judge or features:
        raise ValueError("--judge and --features are for pictures: foveal eval images@DIR PROTOCOL --judge MODEL.")
    else:
        settings = {"similarity": similarity, "boxes": boxes, "scaled_decoding": scaled_decoding, "limit": limit}
        _measure(names, folders, dtype, batch_size, out, strict=strict, training=training, cache=cache, **settings)


def _measure(
    words: list[str],
    folders: list[Path],
    dtype: Literal["auto", "fp32", "bf16"],
    batch_size: int,
    out: Path | None,
    *,
    strict: bool,
    training: str | None,
    cache: Path | None,
    **settings: object,
) -> None:
    from ..annotation.duplicates.fingerprints import Hashes, picture_hash, text_hashes
    from ..encoder.load import load
    from ..evaluation.cache import Cache
    from ..evaluation.evaluate import check_names
    from ..evaluation.evaluate import evaluate as measure
    from ..evaluation.pinned.contamination import training_of
    from ..evaluation.report import table
    from ..evaluation.training_overlap import Fingerprints, with_training

    if len(words) < 2:
        raise ValueError("Give a model and at least one protocol. `foveal eval --list` shows the protocols.")
    model, *names = words
    check_names(names)
    encoder = load(model, dtype=dtype)
    encoder.batch_size, encoder.progress = batch_size, True
    kept = None if cache is None else Cache.open(cache, encoder.decoding(scaled=bool(settings["scaled_decoding"])))
    settings |= {"cache": kept, "trained_on": training_of(encoder, Path(model))}
    report = measure(encoder, names, folders, model=Path(model).name, **settings)  # type: ignore[arg-type]
    if training is not None:
        report = with_training(report, folders, training, Fingerprints(picture_hash, text_hashes, Hashes))
    print(table([report]))
    if out is not None:
        report.write(out)
    if strict and not all(each.whole for each in report.protocols.values()):
        raise typer.Exit(1)


def _measure_pictures(
    words: list[str], folders: list[Path], judges: list[str], features: list[str], out: Path | None
) -> None:
    from ..encoder.load import load
    from ..evaluation.generation import PREFIX, Judge, measure_pictures
    from ..evaluation.picture_features import picture_features
    from ..evaluation.report import table

    folder, *names = words
    judging = [Judge(name, load(name)) for name in judges]
    compared = [picture_features(spec, load) for spec in features]
    report = measure_pictures(Path(folder.removeprefix(PREFIX)), names, folders, judging, compared)
    print(table([report]))
    if out is not None:
        report.write(out)


def _is_llava(folder: Path) -> bool:
    return (folder / "vision_tower.json").is_file() and (folder / "tokenizer.json").is_file()


def _measure_answers(words: list[str], folders: list[Path], limit: int | None, out: Path | None) -> None:
    from ..annotation.assistant.answerer import PREFIX, RemoteAnswerer
    from ..evaluation.answers import Answers, measure_answers
    from ..evaluation.report import table
    from ..multimodal.answer import SHORT, Answerer

    name, *names = words
    opening = RemoteAnswerer.of if name.startswith(PREFIX) else Answerer.open
    model: Answers = opening(name, suffix=SHORT, most_new=16)
    called = name.partition("#")[2] or Path(name).name
    report = measure_answers(model, names, folders, called=called, limit=limit)
    print(table([report]))
    if out is not None:
        report.write(out)
