from dataclasses import dataclass

import pytest
from PIL import Image

from foveal.data.formats import WebDataset
from foveal.data.formats.folder import Folder
from foveal.data.numbered import numbered, open_input, size
from foveal.data.scenes import Scenes
from foveal.types import Sample


@dataclass(frozen=True)
class Once:
    """A source that is neither numbered nor in shards."""

    def __iter__(self):
        yield Sample("a", b"")


@pytest.fixture
def photos(tmp_path):
    """A folder of five pictures among other things."""
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a/two.PNG", "a/one.webp", "Z.jpeg", "c.gif", ".hidden.jpg", ".cache/x.jpg"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(file)
    (folder / "notes.md").write_text("no picture")
    return folder


def test_a_folder_of_pictures_is_a_source(photos, caplog):
    (photos / "b.txt").write_text(" A black cat. \n")
    (photos / "Z.txt").write_text("")
    source = open_input(str(photos))
    assert isinstance(source, Folder)
    samples = list(source)
    assert [sample.id for sample in samples] == ["Z.jpeg", "b.jpg", "c.gif", "a/one.webp", "a/two.PNG"]
    assert [sample.captions for sample in samples] == [(), ("A black cat.",), (), (), ()]
    assert source.sample(1) == samples[1]
    (photos / "b.txt").write_text("A black cat.\r\nIt sits on a red sofa.\n\nBehind it is a lamp.\n")
    assert source.sample(1).captions == ("A black cat.",)
    assert source.sample(1).long_caption == "It sits on a red sofa. Behind it is a lamp."
    assert len(source) == 5
    assert "passed over: 1 .md, 1 hidden files, 1 hidden folders." in caplog.text


def test_input_of_no_use_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        open_input(str(tmp_path / "empty"))
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no samples"):
        open_input(str(tmp_path / "none.jsonl"))
    with pytest.raises(ValueError, match="No such file"):
        open_input(str(tmp_path / "absent.jsonl"))
    with pytest.raises(ValueError, match=r"'once' can only be read from its beginning. Convert it"):
        open_input("once", lambda spec: Once())


@pytest.mark.parametrize("start", [0, 3, 5, 7])
@pytest.mark.parametrize("stop", [None, 4, 9])
def test_numbers_are_those_of_the_whole_however_much_of_it_is_wanted(tmp_path, start, stop):
    scenes = Scenes(count=5, first=10, size=32)
    shards = WebDataset(tmp_path / "shards", samples_per_shard=2)
    shards.write(scenes)
    expected = list(enumerate(f"scenes-train-0-{number}" for number in range(10, 15)))[start:stop]
    for source in (scenes, shards):
        assert [(number, record().id) for number, record in numbered(source, start, stop)] == expected


def test_a_source_knows_its_size_where_that_takes_no_reading(tmp_path):
    assert size(Scenes(count=5, size=32)) == 5
    assert size(WebDataset(tmp_path / "shards")) is None
