import re
import tarfile

import pytest

from foveal.data.formats import WebDataset
from foveal.data.scenes import ARTWORK, ATTRIBUTION, Scenes, write_shards


@pytest.fixture
def folder(tmp_path):
    write_shards(Scenes(count=5, size=32), tmp_path / "scenes", 2)
    return tmp_path / "scenes"


def test_the_licence_of_the_artwork_lies_beside_the_shards_and_in_each(folder):
    notice = (folder / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert notice == ATTRIBUTION
    for part in (ARTWORK, "designed by OpenMoji", "Changes: ", "under the same license", "without warranties"):
        assert part in notice
    assert (folder / "LICENSE").read_text(encoding="utf-8").startswith("Attribution-ShareAlike 4.0 International")
    shards = sorted(folder.glob("*.tar"))
    assert len(shards) == 3
    for shard in shards:
        with tarfile.open(shard) as tar:
            assert tar.getnames()[0] == "LICENSE"
            assert tar.extractfile("LICENSE").read().decode() == notice


def test_readers_pass_over_the_notice(folder):
    written, made = list(WebDataset(folder)), list(Scenes(count=5, size=32))
    assert [sample.id for sample in written] == [sample.id for sample in made]
    assert [sample.regions for sample in written] == [sample.regions for sample in made]


def test_the_notice_is_no_sample_by_webdatasets_own_rule(folder):
    """Keys and extensions are parted at the first dot behind the folders; what has none is no sample."""
    with tarfile.open(min(folder.glob("*.tar"))) as tar:
        assert [re.match(r"^((?:.*/|)[^.]+)[.]([^/]*)$", name) is None for name in tar.getnames()][:2] == [True, False]
