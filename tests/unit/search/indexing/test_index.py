import fcntl
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from errno import EACCES, EDQUOT, ENOSPC
from io import BytesIO

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from foveal.data.formats import Parquet, WebDataset
from foveal.data.formats.source import with_columns
from foveal.encoder import Encoder
from foveal.encoder.proposals import propose_regions
from foveal.search import Indexing, Searcher, precision_of
from foveal.search.lock import alone
from foveal.search.sources import id_of
from foveal.search.store import Store
from foveal.types import Sample


def rows(index):
    """All columns of all pictures, in the order of the table."""
    return Store.open(index).pictures.read().to_pylist()


def disguised(encoder, **methods):
    """The same model with some methods of its own."""
    kind = type("Disguised", (Encoder,), methods)
    other = kind.__new__(kind)
    other.__dict__.update(encoder.__dict__)
    return other


def test_what_is_new_changed_and_gone_is_brought_up_to_date(photos, run, tmp_path, jpeg):
    first = run(photos)
    assert (first.added, first.count, first.broken) == (10, 10, {})
    again = run(photos)
    assert (again.added, again.updated, again.unchanged, again.forgotten, again.count) == (0, 0, 10, 0, 10)
    (photos / "000.jpg").unlink()
    (photos / "001.jpg").write_bytes(jpeg(100, (64, 40)))
    (photos / "new.png").write_bytes(jpeg(101, kind="PNG"))
    third = run(photos)
    assert (third.added, third.updated, third.unchanged, third.forgotten, third.count) == (1, 1, 8, 1, 10)
    found = {row["path"]: row for row in rows(tmp_path / "index")}
    assert sorted(found) == sorted([f"{n:03d}.jpg" for n in range(1, 8)] + ["more/008.jpg", "more/009.jpg", "new.png"])
    assert (found["001.jpg"]["width"], found["001.jpg"]["height"]) == (64, 40)


def test_an_index_kept_up_to_date_equals_one_made_anew(photos, run, tmp_path, encoder, jpeg):
    run(photos)
    (photos / "003.jpg").write_bytes(jpeg(100))
    (photos / "004.jpg").unlink()
    run(photos)
    Indexing(str(photos), str(tmp_path / "anew"), batch=4, tokens=4, regions=4)(lambda: encoder)
    kept, anew = ({row["id"]: row for row in rows(tmp_path / name)} for name in ("index", "anew"))
    assert kept == anew


def test_touched_files_are_read_again_but_not_embedded_again(photos, run, encoder):
    run(photos)
    for path in photos.glob("*.jpg"):
        os.utime(path, ns=(1, 1))
    blind = disguised(encoder, encode_images_fully=None, encode_images=encoder.encode_images)
    report = run(photos, blind)
    assert (report.updated, report.unchanged) == (0, 10)


def test_rows_hold_what_the_model_says(photos, run, tmp_path, encoder):
    run(photos)
    for row in rows(tmp_path / "index"):
        seen = encoder.encode_images_fully([photos / row["path"]], tokens=True, patches=True)
        assert row["id"] == id_of(row["path"])
        assert row["bytes"] == (photos / row["path"]).stat().st_size
        np.testing.assert_allclose(row["embedding"], seen.embedding[0], atol=1e-3)
        regions, boxes = propose_regions(seen.patches[0][None], 4)
        np.testing.assert_allclose(row["regions"], regions[0], atol=1e-3)
        np.testing.assert_allclose(row["boxes"], boxes[0])
        tokens = torch.tensor(row["tokens"]).view(4, -1).float()
        assert tokens.abs().amax(dim=1).tolist() == [127] * 4


def test_boxes_of_a_model_that_crops_lie_in_the_middle_of_the_picture(tmp_path, fill, make_encoder, jpeg):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/wide.jpg").write_bytes(jpeg(0, (80, 40)))
    Indexing(str(tmp_path / "photos"), str(tmp_path / "index"), regions=3)(lambda: make_encoder(mode="crop"))
    boxes = np.array(rows(tmp_path / "index")[0]["boxes"])
    np.testing.assert_allclose(boxes[0], (0.25, 0, 0.75, 1))
    assert boxes[:, 0].min() >= 0.25
    assert boxes[:, 2].max() <= 0.75


def test_broken_pictures_are_listed_and_cost_no_other(photos, run, tmp_path, jpeg, caplog):
    (photos / "cut.jpg").write_bytes(jpeg(50, (300, 200))[:900])
    (photos / "empty.png").write_bytes(b"")
    (photos / "text.jpg").write_text("no picture")
    (photos / "notes.txt").write_text("not meant to be one")
    (photos / "dangling.jpg").symlink_to(photos / "nowhere.jpg")
    report = run(photos)
    assert (report.added, report.count, report.passed_over) == (10, 10, {".txt": 1})
    assert sorted(report.broken) == ["cut.jpg", "dangling.jpg", "empty.png", "text.jpg"]
    assert "none of JPEG" in report.broken["text.jpg"]
    assert json.loads((tmp_path / "index/report.json").read_text())["broken"] == report.broken
    assert "text.jpg is broken" in caplog.text
    assert "4 broken, 1 other files passed over (1 .txt)." in str(report)


def test_odd_files_are_named_and_never_waited_for(photos, run, tmp_path):
    os.mkfifo(photos / "pipe.jpg")
    (photos / "zero.jpg").symlink_to("/dev/zero")
    (photos / "out").symlink_to("/etc")
    (photos / "raw.NEF").write_bytes(b"raw")
    report = run(photos)
    assert report.added == 10
    assert "a named pipe" in report.broken["pipe.jpg"]
    assert "a device" in report.broken["zero.jpg"]
    assert "leads out" in report.broken["out"]
    assert "1 links or paths lead out of the source and are not followed, out among them." in report.remark
    assert "To index them too: --outside" in report.remark
    assert "1 .nef are not read; convert to JPEG." in report.remark
    assert json.loads((tmp_path / "index/report.json").read_text())["passed_over"] == {".nef": 1}
    assert run(photos, most=10).broken["000.jpg"].endswith("bytes, more than 10.")


def test_a_stray_archive_beside_pictures_costs_none_of_them(photos, run, jpeg):
    run(photos)
    WebDataset(photos / "export.tar").write([Sample("a", jpeg(50), ("a dog",))])
    report = run(photos)
    assert (report.unchanged, report.forgotten, report.passed_over) == (10, 0, {".tar": 1})


def test_an_index_of_shards_is_not_emptied_by_a_picture_that_lies_beside_them_now(tmp_path, run, jpeg, fill):
    shards = tmp_path / "shards"
    WebDataset(shards).write(Sample(f"s{number}", jpeg(number)) for number in range(4))
    run(shards)
    fill(shards, [9])
    with pytest.raises(ValueError, match=r"is of tar shards in .*, which holds pictures now\..*--forget") as told:
        run(shards)
    assert "\n" not in str(told.value)
    assert {row["path"] for row in rows(tmp_path / "index")} == {"s0", "s1", "s2", "s3"}
    report = run(shards, forget=True)
    assert (report.added, report.forgotten, report.count) == (1, 4, 1)
    assert run(shards).unchanged == 1


def test_pictures_of_a_disk_that_is_not_mounted_are_kept(photos, run):
    run(photos)
    for path in (photos / "more").iterdir():
        path.unlink()
    (photos / "003.jpg").unlink()
    report = run(photos)
    assert (report.forgotten, report.kept, report.count) == (1, 2, 9)
    assert report.remark.startswith("2 pictures were not seen but kept, as their folders are there but empty.")
    assert run(photos, forget=True).forgotten == 2


def test_most_of_an_index_is_forgotten_only_where_that_is_asked_for(tmp_path, run, fill):
    photos = fill(tmp_path / "photos", range(16))
    run(photos)
    for number in range(10):
        (photos / f"{number:03d}.jpg").unlink()
    report = run(photos)
    assert (report.forgotten, report.kept, report.count) == (0, 10, 16)
    assert "10 pictures were not seen but kept, as they are most of the 16" in report.remark
    assert run(photos, forget=True).forgotten == 10


def test_an_empty_source_empties_the_index_only_where_that_is_asked_for(tmp_path, run, fill):
    photos = fill(tmp_path / "photos", range(3))
    run(photos)
    for path in photos.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="Is it mounted"):
        run(photos)
    assert run(photos, forget=True).forgotten == 3


def test_a_file_that_cannot_be_read_for_now_stays_in_the_index(photos, run, monkeypatch):
    run(photos)
    for name in ("001.jpg", "002.jpg"):
        os.utime(photos / name, ns=(1, 1))

    def failing(path, *limits):
        if path.name == "001.jpg":
            raise PermissionError(13, "Permission denied")
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("foveal.search.sources.read_file", failing)
    report = run(photos)
    assert sorted(report.broken) == ["001.jpg", "002.jpg"]
    assert (report.forgotten, report.count) == (1, 9)


def test_what_links_lead_to_stays_indexed_once_it_was_asked_for(tmp_path, run, fill, encoder):
    fill(tmp_path / "disk", [1, 2])
    photos = fill(tmp_path / "photos", [3])
    (photos / "2021").symlink_to("../disk")
    assert run(photos).added == 1
    assert run(photos, outside=True).added == 2
    assert run(photos).unchanged == 3
    linked = id_of("2021/001.jpg")
    assert Searcher.open(tmp_path / "index", encoder).picture(linked) == tmp_path / "disk/001.jpg"
    report = run(photos, outside=False)
    assert (report.forgotten, report.count) == (2, 1)


def test_a_text_beside_a_picture_is_indexed_and_a_change_of_it_noticed(photos, run, tmp_path):
    def caption():
        return next(row["caption"] for row in rows(tmp_path / "index") if row["path"] == "001.jpg")

    run(photos)
    text = photos / "001.txt"
    for words in ("a cat", "a red dog"):
        text.write_text(words)
        os.utime(text, ns=(1, 1))  # as a copy that keeps its time
        assert run(photos).updated == 1
        assert caption() == words
    text.unlink()
    assert run(photos).updated == 1
    assert caption() == ""
    assert run(photos).unchanged == 10


def test_a_text_that_is_none_is_reported_and_its_picture_indexed(photos, run, tmp_path):
    (photos / "001.txt").write_bytes(b"stra\xdfe")
    report = run(photos)
    assert (report.added, report.broken) == (10, {})
    assert "not UTF-8" in report.notes["001.jpg"][0]
    assert "Something was left out of 1 pictures, of 001.jpg" in report.remark
    assert json.loads((tmp_path / "index/report.json").read_text())["notes"]["001.jpg"]


def test_a_photo_of_108_megapixels_is_indexed_as_any_other(tmp_path, run):
    """At an eighth of its size: an index is made with scaled decoding."""
    (tmp_path / "photos").mkdir()
    photo = Image.new("L", (12_000, 9_000), 90)
    photo.paste(200, (6_000, 0, 12_000, 9_000))
    photo.save(tmp_path / "photos" / "large.jpg", quality=30)
    report = run(tmp_path / "photos")
    assert (report.added, report.broken) == (1, {})
    (row,) = rows(tmp_path / "index")
    assert (row["width"], row["height"]) == (12_000, 9_000)
    thumbnail = np.asarray(Image.open(BytesIO(row["thumbnail"])).convert("L")).astype(int)
    assert np.abs(thumbnail[:, [5, -5]] - (90, 200)).max() <= 3


def test_a_picture_that_has_become_broken_is_forgotten(photos, run):
    run(photos)
    (photos / "002.jpg").write_text("damaged")
    report = run(photos)
    assert (report.forgotten, report.count, list(report.broken)) == (1, 9, ["002.jpg"])


def test_a_picture_that_only_the_model_cannot_take_is_found_out(photos, run, encoder):
    def picky(self, pictures, **options):
        if (photos / "005.jpg").read_bytes() in pictures:
            raise ValueError("too red")
        return encoder.encode_images_fully(pictures, **options)

    report = run(photos, opened=disguised(encoder, encode_images_fully=picky))
    assert (report.added, report.broken) == (9, {"005.jpg": "too red"})


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_samples_of_shards_are_indexed_with_their_texts(tmp_path, run, encoder, jpeg, kind):
    samples = [Sample(f"s{n}", jpeg(n), ("short",), long_caption=f"A long text {n}.") for n in range(6)]
    source = tmp_path / "shards"
    (WebDataset(source, samples_per_shard=4) if kind == "tar" else Parquet(source / "all.parquet")).write(samples)
    assert run(source).added == 6
    assert run(source).unchanged == 6
    found = {row["path"]: row["caption"] for row in rows(tmp_path / "index")}
    assert found == {f"s{n}": f"A long text {n}." for n in range(6)}
    assert Searcher.open(tmp_path / "index", encoder).picture(id_of("s5")) == jpeg(5)


def test_a_damaged_shard_is_told_and_nothing_of_it_forgotten(tmp_path, run, jpeg):
    source = tmp_path / "shards"
    WebDataset(source, samples_per_shard=3).write(Sample(f"s{n}", jpeg(n), ("text",)) for n in range(6))
    run(source)
    first = sorted(source.iterdir())[0]
    first.write_bytes(first.read_bytes()[:3000])
    report = run(source)
    assert report.count == 6
    assert report.forgotten == 0
    assert "kept" in report.remark
    assert any("cut off or damaged" in reason for reason in report.broken.values())


def test_two_samples_of_one_name_are_told(tmp_path, run, jpeg):
    WebDataset(tmp_path / "shards").write(Sample("same", jpeg(n), ("text",)) for n in range(2))
    report = run(tmp_path / "shards")
    assert (report.added, list(report.broken)) == (1, ["same"])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_of_unknown_columns_makes_no_index_and_named_ones_do(photos, run, tmp_path, kind):
    rows_of = [{"Bild": str(photos / f"00{n % 2}.jpg"), "Text1x": f"photo {n}", "caption": "no"} for n in (0, 0, 1)]
    table = tmp_path / f"a.{kind}"
    if kind == "csv":
        table.write_text("\n".join(";".join(row) for row in (rows_of[0], *(one.values() for one in rows_of))))
    elif kind == "jsonl":
        table.write_text("\n".join(map(json.dumps, rows_of)))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows_of), table)
    with pytest.raises(ValueError, match=r"There are: Bild, Text1x, caption\. Name it: --image-column"):
        run(table)
    assert not (tmp_path / "index").exists()
    report = run(with_columns(str(table), "bild", "text1x"))
    assert (report.added, report.broken) == (2, {})
    assert sorted(row["caption"] for row in rows(tmp_path / "index")) == ["photo 0", "photo 1"]


def test_a_batch_that_was_committed_stays_when_the_next_fails(photos, run, tmp_path, encoder):
    batches = []

    def dying(self, pictures, **options):
        batches.append(pictures)
        if len(batches) == 5:  # the picture that the model is known by comes first, made with and checked
            raise KeyboardInterrupt
        return encoder.encode_images_fully(pictures, **options)

    with pytest.raises(KeyboardInterrupt, match=r"8 pictures in .*The same command goes on"):
        run(photos, opened=disguised(encoder, encode_images_fully=dying))
    report = run(photos)
    assert (report.added, report.unchanged, report.count) == (2, 8, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "nowhere"}, "nowhere"),
        ({"tokens": 5}, "holds 4 tokens and 4 regions a picture, not 5 and 4"),
        ({"source": "other"}, r"is of '.*photos', not of '.*other'. Use another --out"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"engine": "spark"}, "Engine 'spark' is unknown. Known: local, ray."),
        ({"index": "photos/000.jpg"}, "is a file. Name a folder"),
    ],
)
def test_a_mistake_is_told_in_one_line(photos, run, tmp_path, encoder, monkeypatch, unchecked, changes, message):
    run(photos)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    options = {"source": "photos", "index": "index", "batch": 4, "tokens": 4, "regions": 4, **changes}
    with pytest.raises(ValueError, match=message) as told:
        Indexing(**options)(lambda: encoder)
    assert "\n" not in str(told.value)


def test_another_model_is_refused_as_soon_as_there_is_something_to_encode(photos, run, make_encoder, fill):
    run(photos)
    other = make_encoder(seed=1)
    assert run(photos, other).unchanged == 10
    with pytest.raises(ValueError, match="made with another model than 'large'"):
        run(photos, other, model="large")
    fill(photos, [70])
    with pytest.raises(ValueError, match="made with another model than 'starter'"):
        run(photos, other)


def test_an_index_remembers_the_precision_of_its_model(photos, run, tmp_path, fill, make_encoder):
    index = str(tmp_path / "index")
    assert precision_of(index) == "auto"
    run(photos)
    assert precision_of(index) == "fp32"
    coarse = make_encoder()
    coarse.dtype = torch.bfloat16
    fill(photos, [70])
    assert run(photos, coarse).added == 1  # the same model, up to coarse arithmetic
    assert precision_of(index) == "bf16"


def test_a_run_that_finds_nothing_new_loads_no_model(photos, run, tmp_path, encoder):
    run(photos)
    for path in photos.rglob("*.jpg"):
        path.touch()  # what was only touched is read, and not encoded
    opened = []
    indexing = Indexing(str(photos), str(tmp_path / "index"), batch=4, tokens=4, regions=4)
    assert indexing(lambda: opened.append(1) or encoder).unchanged == 10
    assert not opened


COLD = """
import sys
from foveal.search import Indexing
report = Indexing(*sys.argv[1:], batch=4, tokens=4, regions=4)(lambda: 1 / 0)
print(report.unchanged, *sorted({"lancedb", "pandas", "torch", "transformers"} & set(sys.modules)))
"""


def test_a_process_that_finds_nothing_new_imports_neither_torch_nor_a_vector_store(photos, run, tmp_path):
    run(photos)
    command = [sys.executable, "-c", COLD, str(photos), str(tmp_path / "index")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["10"]


def test_a_folder_that_was_moved_is_still_the_same(photos, run, tmp_path):
    run(photos)
    photos.rename(tmp_path / "elsewhere")
    report = run(tmp_path / "elsewhere")
    assert (report.unchanged, report.added) == (10, 0)


def test_an_empty_folder_does_not_empty_the_index(photos, run):
    run(photos)
    for path in photos.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(ValueError, match=r"holds no pictures, the index 10\. Is it mounted"):
        run(photos)


def test_an_index_that_was_begun_and_holds_nothing_is_made_anew(photos, run, tmp_path):
    (tmp_path / "index/pictures.lance/data").mkdir(parents=True)
    (tmp_path / "index/pictures.lance/data/half.lance").write_bytes(b"half a file")
    assert run(photos).added == 10


def test_a_damaged_index_is_not_written_over(photos, run, tmp_path):
    run(photos)
    newest = max((tmp_path / "index/pictures.lance/_versions").glob("*.manifest"), key=os.path.getmtime)
    newest.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"index' cannot be read or written: .* Make the index again") as told:
        run(photos)
    assert "\n" not in str(told.value)
    assert newest.read_bytes() == b"damaged"


def test_two_at_once_are_refused(photos, run, tmp_path):
    run(photos)
    with (tmp_path / "index/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="Another foveal index"):
            run(photos)


def test_a_first_indexer_whose_index_appears_meanwhile_leaves_it_as_it_is(photos, run, tmp_path, encoder, monkeypatch):
    """It once looked, waited, and then wrote a new and empty index over what another had committed by then."""
    create = Store.create

    def late(*given):
        monkeypatch.setattr(Store, "create", create)
        run(photos)
        return create(*given)

    monkeypatch.setattr(Store, "create", late)
    with pytest.raises(ValueError, match=r"Another process has made .* Run the same command again"):
        run(photos)
    assert Store.open(tmp_path / "index").count() == 10
    assert run(photos).unchanged == 10


def test_nothing_is_made_while_another_holds_the_lock(photos, run, tmp_path):
    with alone(tmp_path / "index"), pytest.raises(ValueError, match="Another foveal index is writing"):
        run(photos)
    assert [path.name for path in (tmp_path / "index").iterdir()] == [".lock"]


def test_a_lock_that_was_deleted_as_it_was_taken_locks_nothing(tmp_path, monkeypatch):
    """Another process may hold the lock that lies there by now."""
    flock = fcntl.flock

    def late(lock, how):
        flock(lock, how)
        shutil.rmtree(tmp_path / "index")
        (tmp_path / "index").mkdir()
        (tmp_path / "index/.lock").touch()

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ValueError, match="deleted a moment ago"), alone(tmp_path / "index"):
        pass


@pytest.mark.parametrize("then", ["deleted", "made again"])
def test_an_index_deleted_under_its_writer_is_not_written_on(photos, run, tmp_path, monkeypatch, then):
    """Its next commit once went into whatever lay there by then."""
    write, writes = Store.write, []

    def late(self, rows, **options):
        writes.append(rows)
        if len(writes) == 2:
            shutil.rmtree(tmp_path / "index")
            if then == "made again":
                run(photos)
        write(self, rows, **options)

    monkeypatch.setattr(Store, "write", late)
    with pytest.raises(ValueError, match="replaced or deleted since it was opened"):
        run(photos)
    assert Store.is_there(tmp_path / "index") == (then == "made again")
    assert run(photos).added == (10 if then == "deleted" else 0)


def test_notes_of_an_index_whose_pictures_are_gone_are_not_those_of_the_next(photos, run, tmp_path):
    run(photos)
    Store.open(tmp_path / "index").note(source="elsewhere")
    shutil.rmtree(tmp_path / "index/pictures.lance")
    assert run(photos).added == 10
    assert Store.open(tmp_path / "index").facts["source"] == str(photos)


def test_nothing_is_written_to_the_tables_when_nothing_has_changed(photos, run, tmp_path):
    run(photos)
    before = sorted((tmp_path / "index").rglob("*.lance/**/*"))
    run(photos)
    assert sorted((tmp_path / "index").rglob("*.lance/**/*")) == before


def test_an_index_on_an_object_store_is_made_and_kept_up_to_date(photos, tmp_path, encoder, fill):
    indexing = Indexing(str(photos), f"file://{tmp_path}/index", batch=4, tokens=4, regions=4)
    assert indexing(lambda: encoder).added == 10
    with pytest.raises(ValueError, match="already exists"):
        Store._new(indexing.index, *indexing._new(encoder))
    fill(photos, [70])
    assert indexing(lambda: encoder).added == 1
    assert Store.open(indexing.index).facts["report"]["count"] == 11


@pytest.fixture
def largest_file():
    """Sets how large a file may grow. The system refuses more with a number, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("size", "batch"), [(2_000, 5), (50, 5), (0, 1)])
def test_a_full_disk_is_one_line_and_the_index_stays_whole(photos, run, tmp_path, encoder, largest_file, size, batch):
    batches = []

    def filling(self, pictures, **options):
        batches.append(pictures)
        if len(batches) == batch:
            largest_file(size)
        return encoder.encode_images_fully(pictures, **options)

    with pytest.raises(ValueError, match=rf"The disk of '{tmp_path}/index' is full: File too large") as told:
        run(photos, opened=disguised(encoder, encode_images_fully=filling))
    largest_file(resource.RLIM_INFINITY)
    kept = int(re.search(r"(\d+) pictures are kept\. Once mended, the same command goes on\.$", str(told.value))[1])
    assert (kept > 0) == (batch > 1)
    assert "\n" not in str(told.value)
    report = run(photos)
    assert (report.count, report.added) == (10, 10 - kept)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("lance error: LanceError(IO): No space left on device (os error 28), /a/b.rs:1:2"),
            "is full: No",
        ),
        (OSError(ENOSPC, "No space left on device"), "is full: No space left on device"),
        (OSError(EDQUOT, "Disk quota exceeded"), "is full: Disk quota exceeded"),
        (PermissionError(EACCES, "Permission denied"), "cannot be written to: Permission denied"),
        (RuntimeError("lance error: LanceError(IO): Read-only file system (os error 30), /a/b.rs:1:2"), "Read-only"),
        (RuntimeError("lance error: LanceError(IO):\nCredentials expired, /a/b.rs:1:2"), "Credentials expired."),
    ],
)
@pytest.mark.parametrize("place", ["write", "finish", "note"])
def test_what_cannot_be_written_is_one_line(photos, run, tmp_path, monkeypatch, place, error, told):
    def failing(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Store, place, failing)
        with pytest.raises(ValueError, match=told) as line:
            run(photos)
    assert str(tmp_path / "index") in str(line.value)
    assert "\n" not in str(line.value)
    assert ".rs" not in str(line.value)
    assert run(photos).count == 10


def test_what_went_wrong_has_a_line_of_its_own_below_the_bar(photos, run, monkeypatch, capsys):
    def failing(*_, **__):
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "write", failing)
    with pytest.raises(ValueError, match="is full"):
        run(photos, progress=True)
    assert capsys.readouterr().err.endswith("\n")


def test_an_error_of_our_own_is_not_called_one_of_the_disk(photos, run, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Store, "write", failing)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(photos)


def test_a_report_that_cannot_be_written_is_one_line(photos, run, tmp_path):
    run(photos)
    (tmp_path / "index/report.json").unlink()
    (tmp_path / "index/report.json").mkdir()
    with pytest.raises(ValueError, match=r"cannot be read or written: .* 10 pictures are kept"):
        run(photos)


def test_an_index_inside_its_own_folder_is_not_indexed(photos, encoder):
    indexing = Indexing(str(photos), str(photos / "index"), batch=4, tokens=4, regions=4)
    assert indexing(lambda: encoder).added == 10
    assert replace(indexing, batch=8)(lambda: encoder).unchanged == 10
