"""What every format must do: give back what was written, name what is broken, leave no half file."""

import pickle
from dataclasses import is_dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from foveal.data import formats
from foveal.data.formats.pictures import encoded
from foveal.data.stream import Indexed, Sharded
from foveal.types import Negative, Region, Sample

FORMATS = {
    "Coco": lambda folder: formats.Coco(folder / "train.json"),
    "CsvPairs": lambda folder: formats.CsvPairs(folder / "pairs.csv"),
    "FineHard": lambda folder: formats.FineHard(folder / "part.json"),
    "JsonRows": lambda folder: formats.JsonRows(folder / "rows.json"),
    "Jsonl": lambda folder: formats.Jsonl(folder / "train.jsonl"),
    "Lvis": lambda folder: formats.Lvis(folder / "lvis_train.json"),
    "Parquet": lambda folder: formats.Parquet(folder / "part.parquet", samples_per_shard=2),
    "ShareGpt4v": lambda folder: formats.ShareGpt4v(folder / "share.json"),
    "WebDataset": lambda folder: formats.WebDataset(folder / "shards", samples_per_shard=2),
}
ONE_CAPTION = {"CsvPairs", "FineHard"}
NO_KINDS = {"FineHard"}


def picture(color, kind="JPEG") -> bytes:
    data = BytesIO()
    Image.new("RGB", (32, 16), color).save(data, kind)
    return data.getvalue()


def samples(folder: Path) -> list[Sample]:
    """Samples that say all a sample can, pictures as bytes of each kind and as a file."""
    file = folder / "elsewhere" / "a picture.png"
    file.parent.mkdir()
    file.write_bytes(picture("gray", "PNG"))
    negatives = (Negative("a blue cup"), Negative("a red dish", "object"))
    regions = (Region((0.25, 0.5, 0.75, 1.0), "a red cup", negatives), Region((0.0, 0.0, 0.5, 0.5), "Straße"))
    rich = Sample(
        id="17",
        image=picture("red"),
        captions=('A cup, "red".\nOn a table; été 🦊', "Another."),
        long_caption="A long text.\r\nWith lines,\ttabs and 'quotes'.",
        regions=regions,
        caption_negatives=negatives,
        long_caption_negatives=negatives[:1],
    )
    return [
        rich,
        replace(rich, id="folder/key.with.dots", image=picture("green", "PNG"), regions=regions[:1]),
        replace(rich, id="003", image=picture("blue", "WEBP"), captions=("One.",)),
        replace(rich, id="plain", image=file, regions=(), caption_negatives=(), long_caption_negatives=()),
        replace(rich, id="bare", captions=(), long_caption="", regions=(), image=picture("pink")),
    ]


def held(sample: Sample, name: str) -> Sample:
    """What is left of a sample in a format, with its picture as bytes."""
    holds = set(getattr(formats, name).holds)
    empty = {field: type(getattr(sample, field))() for field in ALL_FIELDS - holds}
    sample = replace(sample, image=encoded(sample), **empty)
    if "negatives" not in holds:
        sample = replace(sample, regions=tuple(replace(one, negatives=()) for one in sample.regions))
    if name in NO_KINDS:
        plain = (replace(one, negatives=tuple(Negative(near.text) for near in one.negatives)) for one in sample.regions)
        sample = replace(sample, regions=tuple(plain))
    return replace(sample, captions=sample.captions[:1]) if name in ONE_CAPTION else sample


ALL_FIELDS = {"captions", "long_caption", "regions", "caption_negatives", "long_caption_negatives"}


def test_all_formats_are_here():
    assert set(FORMATS) == {name for name, one in vars(formats).items() if is_dataclass(one)}


@pytest.fixture
def written(name, tmp_path):
    part, some = FORMATS[name](tmp_path), samples(tmp_path)
    fit = [held(sample, name) for sample in some]
    keep_file = [
        replace(one, image=whole.image) if isinstance(whole.image, Path) else one
        for one, whole in zip(fit, some, strict=True)
    ]
    assert part.write(keep_file) == len(some)
    return part, fit


@pytest.mark.parametrize("name", FORMATS)
class TestEveryFormat:
    def test_gives_back_what_was_written(self, name, written):
        part, fit = written
        assert [replace(sample, image=encoded(sample)) for sample in part] == fit

    def test_reads_the_same_twice_and_after_pickling(self, name, written):
        part, _ = written
        assert list(part) == list(part) == list(pickle.loads(pickle.dumps(part)))  # noqa: S301  # as a worker gets it

    def test_serves_a_stream(self, name, written):
        part, _ = written
        if isinstance(part, Indexed):
            found = [part.sample(index) for index in range(len(part))]
        else:
            assert isinstance(part, Sharded)
            found = [record() for shard in part.shards() for record in shard.records()]
        assert found == list(part)

    def test_is_recognized_by_name_or_content(self, name, written):
        part, _ = written
        assert type(formats.open_source(part.path)) is type(part)
        assert list(formats.open_source(str(part.path))) == list(part)

    def test_refuses_to_write_what_it_cannot_hold(self, name, tmp_path):
        full = samples(tmp_path)[0]
        if held(full, name) == full:
            return
        with pytest.raises(ValueError, match="17"):
            FORMATS[name](tmp_path).write([full])

    def test_leaves_no_half_file_when_writing_fails(self, name, tmp_path):
        def breaking():
            yield held(replace(samples(tmp_path)[0], id="1"), name)
            raise ZeroDivisionError

        part = FORMATS[name](tmp_path)
        with pytest.raises(ZeroDivisionError):
            part.write(breaking())
        endings = {".jsonl", ".json", ".csv", ".tar", ".parquet", ".partial"}
        assert not [path for path in tmp_path.rglob("*") if path.suffix in endings]
