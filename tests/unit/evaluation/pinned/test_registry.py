import pytest

from foveal.evaluation.pinned import registry as tables
from foveal.evaluation.pinned.published import differences, published, rows_of, same_model, verdict
from foveal.evaluation.pinned.readers import READERS
from foveal.evaluation.pinned.registry import ALIASES, GROUPS, expand, find, read_table, registry
from foveal.evaluation.registry import BENCHMARKS
from foveal.evaluation.result import Metric


def test_every_protocol_has_a_reader_with_layouts_and_what_a_stranger_needs():
    for pinned in registry().values():
        if pinned.reader == "none":
            assert not pinned.runnable and pinned.why_not
            continue
        assert READERS[pinned.reader], pinned.name
        assert (pinned.licence and pinned.cite and pinned.get) or not pinned.runnable, pinned.name
        assert pinned.runnable or pinned.why_not, pinned.name


def test_every_reader_is_used():
    assert {pinned.reader for pinned in registry().values()} - {"none"} == set(READERS)


def test_groups_and_older_names_lead_to_protocols():
    for name in [*ALIASES.values(), *(member for members in GROUPS.values() for member in members)]:
        assert name in registry() or name in BENCHMARKS, name
    assert expand(["@long", "fg_ovd_hard", "urban1k@1000"])[-2:] == ["sharegpt4v@first1000", "fg-ovd@hard"]


def test_every_published_number_is_of_a_protocol_that_is_known():
    assert len(published()) == 1504
    for row in published():
        assert row.nearest in registry() or row.nearest.startswith(("coco@unstated", "dci@unstated")), row.protocol
    for name in registry():
        assert all(row.stated for row in rows_of(name) if "unstated" not in name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flickr30k", r"flickr30k is a family of protocols; give a variant. There are: flickr30k@karpathy1k \("),
        ("flickr30k@5k", "There is no variant 'flickr30k@5k' of flickr30k. There are: flickr30k@karpathy1k"),
        ("urban1000@1k", "There is no protocol 'urban1000@1k'. Did you mean urban1k@1000"),
        ("@longest", "There is no group '@longest'. There are: @long, @short"),
    ],
)
def test_a_wrong_name_is_answered_with_those_that_may_be_meant(name, said):
    with pytest.raises(ValueError, match=said):
        find(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('["a@b"]\ntitle="t"\ntask="choice"\nreader="r"\ncolour="red"', 'x.toml: "a@b" has no field colour'),
        ('["a@b"]\ntitle="t"\ntask="choice"', 'x.toml: "a@b" is not whole'),
        ('["A b@c"]\ntitle="t"', 'x.toml: "A b@c" is no name of a protocol'),
    ],
)
def test_a_table_with_a_mistake_is_refused(tmp_path, content, said):
    path = tmp_path / "x.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=said):
        read_table(path)


def test_a_new_protocol_of_a_known_kind_is_a_table(tmp_path):
    (tmp_path / "x.toml").write_text('task = "retrieval"\nreader = "docci"\n["mine@1"]\ntitle = "mine"\nimages = 3\n')
    (pinned,) = read_table(tmp_path / "x.toml")
    assert (pinned.name, pinned.family, pinned.images, pinned.equal_texts, pinned.ties) == (
        "mine@1",
        "mine",
        3,
        "own",
        "half",
    )
    assert tables.registry() is registry()


@pytest.mark.parametrize(
    ("name", "theirs", "same"),
    [
        ("BeichenZhang/LongCLIP-B", "Long-CLIP B/16", True),
        ("LongCLIP-L", "Long-CLIP B/16", False),
        ("openai/clip-vit-base-patch16", "CLIP B/16", True),
        ("openai/clip-vit-base-patch32", "CLIP B/16", False),
        ("openai/clip-vit-large-patch14-336", "CLIP L/14-336", True),
        ("openai/clip-vit-large-patch14", "CLIP L/14-336", False),
        ("qihoo360/fg-clip-base", "FG-CLIP B/16", True),
        ("qihoo360/fg-clip2-base", "FG-CLIP 2 B/16", True),
        ("qihoo360/fg-clip2-base", "FG-CLIP B/16", False),
        ("qihoo360/fg-clip2-so400m", "FG-CLIP 2 So/16", True),
        ("google/siglip2-base-patch16-naflex", "SigLIP 2 B/16 NaFlex", True),
        ("FineLIP-B", "FineLIP* B/16", False),
        ("my-model", "CLIP B/16", False),
    ],
)
def test_a_model_is_recognized_by_family_and_size(name, theirs, same):
    assert same_model(name, theirs) == same


@pytest.mark.parametrize(
    ("published_value", "measured", "count", "said"),
    [
        (79.4, 79.42, 1000, "equal"),
        (79.4, 79.2, 1000, "reproduced"),
        (79.4, 79.1, 1000, "off"),
        (50.0, 52.0, 100, "reproduced"),
    ],
)
def test_reproduced_is_within_two_tenths_or_two_queries(published_value, measured, count, said):
    assert verdict(published_value, Metric(measured, 0.0, 100.0, count))[0] == said


def test_what_was_prepared_otherwise_is_named():
    row = next(row for row in rows_of("urban1k@1000") if row.model == "Long-CLIP B/16")
    as_published = {"resize": "crop", "resample": "bicubic", "size": 224, "text_length": {"long_caption": 248}}
    assert differences(row, as_published) == ()
    assert differences(row, {**as_published, "size": 336, "text_length": {"long_caption": 77}}) == (
        "tokens of long texts: 77 here, 248 there",
        "side of images in pixels: 336 here, 224 there",
    )
    assert differences(row, {**as_published, "resize": "squash"}) == ("images are: squash here, crop there",)
