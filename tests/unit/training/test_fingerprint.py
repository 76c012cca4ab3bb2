import json
import os
import shutil
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.data.formats import CsvPairs, Jsonl, WebDataset
from foveal.data.formats.fields import Columns
from foveal.data.scenes import Scenes
from foveal.training import fingerprint
from foveal.training.feed import open_data
from foveal.training.fingerprint import Fingerprint


def of(spec):
    return Fingerprint.of(str(spec), open_data(str(spec)))


def change(old, new):
    return old.change(of(new))


@pytest.fixture
def rows(tmp_path):
    """Twelve scenes as JSON Lines, their pictures beside them."""
    folder = tmp_path / "rows"
    Jsonl(folder / "a.jsonl").write(Scenes(count=12, size=32))
    return folder / "a.jsonl"


def test_a_copy_elsewhere_of_another_time_is_the_same(rows, scene_shards, tmp_path):
    for spec in (rows, scene_shards):
        before = of(spec)
        moved = shutil.copytree(spec if spec.is_dir() else spec.parent, tmp_path / "far" / "away" / spec.stem)
        for file in moved.rglob("*"):
            os.utime(file, (1, 1))
        now = of(moved if spec.is_dir() else moved / spec.name)
        assert before.change(now) == ""
        assert before.content == now.content
        assert before.spec != now.spec


def test_other_rows_of_the_same_number_and_size_are_noticed(rows):
    before = of(rows)
    rows.write_text(rows.read_text().replace("red", "tan"))
    assert of(rows).size == before.size
    assert change(before, rows) == "as many bytes as before, but others"


def test_more_rows_are_noticed(rows):
    before = of(rows)
    rows.write_text(rows.read_text() + rows.read_text())
    assert change(before, rows) == "its count was 12, now 24"


@given(data=st.data())
def test_any_byte_of_a_small_file_counts(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("bytes") / "a.tar"
    content = bytearray(data.draw(st.binary(min_size=1, max_size=300_000)))
    file.write_bytes(content)
    before = fingerprint._content([file], [len(content)])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    assert fingerprint._content([file], [len(content)]) != before


def test_a_picture_beside_the_rows_is_noticed(rows):
    before = of(rows)
    pictures = sorted((rows.parent / "images").rglob("*.png"))
    pictures[3].write_bytes(pictures[4].read_bytes())
    assert change(before, rows) == "the same files, but other samples or pictures"


def test_shards_that_change_places_or_names_are_noticed(scene_shards, tmp_path):
    folder = shutil.copytree(scene_shards, tmp_path / "shards")
    before = of(folder)
    first, second = sorted(folder.glob("*.tar"))
    second.rename(folder / "third.tar")
    assert change(before, folder) == "as many bytes as before, but others"
    first.unlink()
    assert change(before, folder) == "its count was 2, now 1"


def test_what_reads_a_file_and_how_counts(tmp_path):
    (tmp_path / "a.csv").write_text("path,caption,other\na.jpg,one,two\n")
    before = Fingerprint.of("a", CsvPairs(tmp_path / "a.csv"))
    other = Fingerprint.of("a", CsvPairs(tmp_path / "a.csv", Columns(caption="other")))
    assert before.change(other).startswith('its settings was {"columns": ')
    assert '"caption": "other"' in before.change(other)
    assert before.change(replace(before, kind="Jsonl")) == 'its kind was "CsvPairs", now "Jsonl"'


def test_made_up_scenes_are_known_by_their_settings():
    before = of("scenes:seed=1,count=8,size=32")
    assert change(before, "scenes:count=8,size=32,seed=1") == ""
    assert "settings" in change(before, "scenes:seed=2,count=8,size=32")
    assert (before.files, before.count) == (0, 8)


@pytest.mark.parametrize("files", [1, 3, 40])
def test_reading_is_bounded_and_what_is_read_is_noticed(tmp_path, monkeypatch, files):
    """Shards of a gigabyte in small: a budget of 16 blocks for all files, two blocks at least of a file."""
    monkeypatch.setattr(fingerprint, "BLOCK", 64)
    monkeypatch.setattr(fingerprint, "BYTES", 16 * 64)
    monkeypatch.setattr(fingerprint, "FILES", 8)
    paths = [tmp_path / f"{number:02d}.tar" for number in range(files)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 10_000)
    read = []

    class Counted(FileIO):
        def read(self, size=-1):
            content = super().read(size)
            read.append(len(content))
            return content

    def content():
        return fingerprint._content(paths, [path.stat().st_size for path in paths])

    with monkeypatch.context() as counting:
        counting.setattr(Path, "open", lambda path, mode: Counted(path))
        before = content()
    assert 0 < sum(read) <= 16 * 64
    assert content() == before
    for place in (0, -1):
        whole = bytearray(paths[0].read_bytes())
        whole[place] ^= 1
        paths[0].write_bytes(whole)
        assert content() != before
        whole[place] ^= 1
        paths[0].write_bytes(whole)


def test_fingerprints_are_read_as_they_were_written_and_a_damaged_file_is_named(rows, tmp_path):
    assert fingerprint.read(tmp_path) is None
    fingerprint.write(tmp_path, [of(rows)])
    assert fingerprint.read(tmp_path) == [of(rows)]
    (tmp_path / "data.json").write_text(json.dumps([{"spec": "a"}]))
    with pytest.raises(ValueError, match=r"data\.json is damaged: .*Remove it"):
        fingerprint.read(tmp_path)
    (tmp_path / "data.json").write_text("[")
    with pytest.raises(ValueError, match=r"data\.json is damaged: .*Remove it"):
        fingerprint.read(tmp_path)


def test_sources_of_ones_own_are_known_by_their_samples(scene_shards):
    class Mine:
        def __init__(self, samples):
            self.samples = samples

        def __len__(self):
            return len(self.samples)

        def sample(self, index):
            return self.samples[index]

    samples = list(WebDataset(scene_shards))
    before = Fingerprint.of("mine", Mine(samples))
    assert before.change(Fingerprint.of("mine", Mine(list(samples)))) == ""
    samples[2] = replace(samples[2], captions=("another",))
    assert before.change(Fingerprint.of("mine", Mine(samples))) == "the same files, but other samples or pictures"
