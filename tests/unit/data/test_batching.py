import io
import json
import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.data.batching import Batcher, phrase_key
from foveal.data.images import Augmentation, ImageTransform
from foveal.data.texts import FirstSentence, Prefix, Text
from foveal.data.tokenizer import Tokenizer
from foveal.types import Negative, PatchedPixels, Region, Sample


def picture(color: int = 0, size: tuple[int, int] = (20, 16)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, (color, 0, 0)).save(content, "PNG")
    return content.getvalue()


def region(number: int, negatives: int = 0) -> Region:
    left = number / 20
    misses = tuple(Negative(f"thing {number} not {miss}", "object") for miss in range(negatives))
    return Region((left, 0.1, left + 0.5, 0.9), f"thing {number}", misses)


def sample(name: str = "one", **fields) -> Sample:
    defaults = {"image": picture(), "captions": ("a cat", "a pet"), "long_caption": "A cat sits. It is gray."}
    return Sample(name, **{**defaults, **fields})


def batcher(**fields) -> Batcher:
    return Batcher(**{"transform": ImageTransform(size=16), "tokenizer": Tokenizer.clip(), **fields})


def texts(token_ids: torch.Tensor) -> list[str]:
    return Tokenizer.clip().decode(token_ids)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_batch_holds_all_that_was_asked_for_in_order():
    made = batcher(long_captions=True, regions=4, negatives=3, caption_negatives=2)
    first = sample("one", regions=(region(0, 2), region(1)), caption_negatives=(Negative("a dog"),))
    second = sample("two", captions=("a bus",), long_caption="A bus.")
    third = sample("three", captions=("a tree",), regions=(region(2, 1),))
    batch = made.collate([made.prepare(given, rng()) for given in (first, second, third)])
    assert batch.ids == ("one", "two", "three")
    assert batch.pixels.shape == (3, 3, 16, 16)
    assert texts(batch.texts["caption"].ids) == ["a cat", "a bus", "a tree"]
    assert texts(batch.texts["long_caption"].ids) == [
        "a cat sits . it is gray .",
        "a bus .",
        "a cat sits . it is gray .",
    ]
    expected = torch.tensor([[0, 0.1, 0.5, 0.9], [0.05, 0.1, 0.55, 0.9], [0.1, 0.1, 0.6, 0.9]])
    torch.testing.assert_close(batch.boxes, expected)
    assert batch.region_image.tolist() == [0, 0, 2]
    assert texts(batch.texts["phrase"].ids) == ["thing 0", "thing 1", "thing 2"]
    assert texts(batch.texts["negative"].ids) == ["thing 0 not 0", "thing 0 not 1", "thing 2 not 0"]
    assert batch.texts["negative"].owner.tolist() == [0, 0, 2]
    assert texts(batch.texts["caption_negative"].ids) == ["a dog"]
    assert batch.texts["caption_negative"].owner.tolist() == [0]


def test_what_is_not_asked_for_is_absent():
    given = sample(regions=(region(0, 2),), caption_negatives=(Negative("a dog"),))
    batch = batcher(captions=False).collate([batcher(captions=False).prepare(given, rng())])
    assert (batch.texts, batch.boxes, batch.region_image) == ({}, None, None)


def test_what_is_asked_for_and_not_there_has_no_rows():
    made = batcher(regions=4, negatives=3, caption_negatives=2)
    batch = made.collate([made.prepare(sample(name), rng()) for name in ("one", "two")])
    assert batch.boxes.shape == (0, 4)
    assert (
        batch.texts["phrase"].ids.shape
        == batch.texts["negative"].ids.shape
        == batch.texts["caption_negative"].ids.shape
        == (0, 1)
    )
    for owners in (
        batch.region_image,
        batch.texts["phrase"].key,
        batch.texts["negative"].owner,
        batch.texts["caption_negative"].owner,
    ):
        assert owners.shape == (0,)
        assert owners.dtype == torch.int64


def test_each_picture_stands_in_its_own_row():
    made = batcher()
    batch = made.collate([made.prepare(sample(str(color), image=picture(color))) for color in (0, 120, 250)])
    red = batch.pixels[:, 0].mean(dim=(1, 2))
    assert red[0] < red[1] < red[2]


def test_a_batch_of_one_is_a_row_of_a_batch():
    made = batcher(regions=2, negatives=2)
    samples = [sample(str(n), image=picture(n), captions=(f"a cat {n}",), regions=(region(n, 3),)) for n in range(3)]
    whole = made.collate([made.prepare(given) for given in samples])
    negative = whole.texts["negative"]
    for row, given in enumerate(samples):
        alone = made.collate([made.prepare(given)])
        torch.testing.assert_close(alone.pixels[0], whole.pixels[row], atol=0, rtol=0)
        torch.testing.assert_close(alone.boxes[0], whole.boxes[row])
        assert texts(alone.texts["negative"].ids) == texts(negative.ids[negative.owner == row])
        assert alone.texts["phrase"].key[0] == whole.texts["phrase"].key[row]


def test_no_more_is_drawn_than_asked_for_and_each_as_often():
    made = batcher(regions=2, negatives=3, caption_negatives=1)
    given = sample(regions=tuple(region(n, 6) for n in range(4)), caption_negatives=(Negative("a"), Negative("b")))
    drawn, misses, near = [], [], []
    for seed in range(200):
        prepared = made.prepare(given, rng(seed))
        assert len(prepared.regions) == 2
        assert all(len(part.negatives) == 3 for part in prepared.regions)
        assert [part.box for part in prepared.regions] == sorted(part.box for part in prepared.regions)
        drawn += [part.phrase for part in prepared.regions]
        misses += [miss.text[-1] for part in prepared.regions for miss in part.negatives]
        near += prepared.caption_negatives
    assert all(70 < drawn.count(f"thing {n}") < 130 for n in range(4))
    assert all(150 < misses.count(str(n)) < 250 for n in range(6))
    assert all(70 < near.count(text) < 130 for text in "ab")


def test_captions_are_drawn_unless_near_misses_bind_the_first():
    near = (Negative("a dog"),)
    given = sample(captions=("first", "second", "third"), caption_negatives=near)
    free = {batcher().prepare(given, rng(seed)).caption for seed in range(30)}
    bound = {batcher(caption_negatives=1).prepare(given, rng(seed)).caption for seed in range(30)}
    without = {
        batcher(caption_negatives=1).prepare(replace(given, caption_negatives=()), rng(s)).caption for s in range(30)
    }
    assert free == without == {"first", "second", "third"}
    assert bound == {"first"}


def test_regions_that_the_view_cuts_off_are_gone_with_their_near_misses():
    middle = ImageTransform(size=16, mode="crop")
    made = batcher(transform=middle, regions=4, negatives=4)
    off = Region((0.0, 0.0, 0.2, 1.0), "left edge", (Negative("right edge"),))
    inside = Region((0.25, 0.0, 0.75, 1.0), "middle", (Negative("center"),))
    prepared = made.prepare(sample(image=picture(size=(80, 40)), regions=(off, inside)))
    batch = made.collate([prepared])
    assert texts(batch.texts["phrase"].ids) == ["middle"]
    assert texts(batch.texts["negative"].ids) == ["center"]
    torch.testing.assert_close(batch.boxes, torch.tensor([[0.0, 0, 1, 1]]))


def test_the_same_randomness_gives_the_same_choices_and_none_depends_on_the_id_alone():
    changing = ImageTransform(size=16, augmentation=Augmentation(flip=0.5, smallest_crop=0.2))
    made = batcher(transform=changing, regions=2, negatives=2)
    given = sample(regions=tuple(region(n, 6) for n in range(6)))

    def choices(prepared):
        return prepared.caption, prepared.regions

    assert choices(made.prepare(given, rng(1))) == choices(made.prepare(given, rng(1)))
    assert len({str(choices(made.prepare(given, rng(seed)))) for seed in range(9)}) > 5
    assert choices(made.prepare(given)) == choices(made.prepare(given))
    named = [choices(made.prepare(replace(given, id=str(n)))) for n in range(9)]
    assert len(set(map(str, named))) > 5
    boxes = {part.box: part.phrase for part in given.regions}
    assert all(boxes[part.box] == part.phrase for _, regions in named for part in regions)


def test_edits_come_first_and_in_order():
    made = batcher(edits=(FirstSentence(), Prefix("a photo of ")))
    assert made.prepare(sample(), rng()).caption == "a photo of A cat sits"


def test_long_texts_stop_or_are_cut_as_asked():
    long = sample(captions=("a cat " * 60,))
    assert batcher(overflow="truncate").collate([batcher().prepare(long)]).texts["caption"].ids.shape == (1, 77)
    with pytest.raises(ValueError, match="122 tokens exceeds the length of 77"):
        batcher().collate([batcher().prepare(long)])


def test_each_kind_of_text_has_its_own_length():
    words = "a cat " * 5
    made = batcher(
        long_captions=True,
        regions=1,
        negatives=1,
        lengths={"caption": 6, "long_caption": 9, "phrase": 4},
        overflow="truncate",
    )
    box = Region((0.0, 0.0, 1.0, 1.0), words, (Negative(words),))
    batch = made.collate([made.prepare(sample(captions=(words,), long_caption=words, regions=(box,)))])
    lengths = [
        ids.shape[1]
        for ids in (
            batch.texts["caption"].ids,
            batch.texts["long_caption"].ids,
            batch.texts["phrase"].ids,
            batch.texts["negative"].ids,
        )
    ]
    assert lengths == [6, 9, 4, 4]


def test_pictures_of_any_aspect_come_as_patches():
    made = batcher(transform=ImageTransform(mode="native", patch_size=4, max_patches=12))
    batch = made.collate([made.prepare(sample(image=picture(size=size))) for size in ((40, 30), (10, 80))])
    assert isinstance(batch.pixels, PatchedPixels)
    assert batch.pixels.grid.prod(dim=1).tolist() == batch.pixels.mask.sum(dim=1).tolist()


def test_equal_phrases_have_equal_keys():
    keys = [phrase_key(text) for text in ("a red cup", "A  red\ncup ", "a red cap", "", "\ud83d")]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert all(0 <= key < 2**63 for key in keys)


def test_golden_key_is_the_same_in_every_process():
    """Python's own hash is salted in each process, so equal phrases of two ranks would differ."""
    assert phrase_key("a red cup") == 1456334771869021882


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"captions": ()}, "Sample one has no caption"),
        ({"captions": ("", " \n")}, "Sample one has no caption, or an empty one"),
        ({"long_caption": " "}, "Sample one has no long caption"),
        ({"image": b"broken"}, "Sample one: Picture of 6 bytes cannot be read"),
        ({"regions": (Region((5.0, 5.0, 9.0, 9.0), "pixels"),)}, r"Sample one: Box \(5\.0"),
    ],
    ids=["caption", "empty_captions", "long_caption", "picture", "box"],
)
def test_a_sample_that_cannot_be_used_is_named(fields, reason):
    with pytest.raises(ValueError, match=reason):
        batcher(long_captions=True, regions=1).prepare(sample(**fields))


def test_empty_captions_are_never_drawn():
    given = sample(captions=("", "a cup", " "))
    assert {batcher().prepare(given, np.random.default_rng(seed)).caption for seed in range(20)} == {"a cup"}


@pytest.mark.parametrize("fields", [{"negatives": 3}, {"captions": False, "caption_negatives": 1}])
def test_near_misses_without_what_they_miss_are_refused(fields):
    with pytest.raises(ValueError, match="belong to"):
        batcher(**fields)


@dataclass(frozen=True)
class Words:
    """The words of the long caption, or of each region's phrase, some of them moved."""

    name: str = "words"
    of: str = "image"
    kind: str = "caption"
    tokens: bool = False
    shift: float = 0.0

    def __call__(self, sample, rng):
        texts = [sample.long_caption] if self.of == "image" else [region.phrase for region in sample.regions]
        return [Text(word, owner, self.shift) for owner, text in enumerate(texts) for word in text.split()]


def test_a_group_of_ones_own_has_any_number_of_texts_each_with_its_image():
    made = batcher(groups=(Words(),))
    given = [sample("one", long_caption="a red bus"), sample("two", long_caption=""), sample("three", long_caption="a")]
    rows = made.collate([made.prepare(each, rng()) for each in given]).texts["words"]
    assert texts(rows.ids) == ["a", "red", "bus", "a"]
    assert rows.owner.tolist() == [0, 0, 0, 2]
    assert (rows.of, rows.kind, rows.start) == ("image", "caption", None)


def test_a_group_of_regions_names_the_regions_that_were_drawn():
    made = batcher(groups=(Words(of="region", kind="phrase"),), regions=2)
    given = [
        sample("one", regions=tuple(region(n) for n in range(5))),
        sample("two"),
        sample("x", regions=(region(7),)),
    ]
    batch = made.collate([made.prepare(each, rng(3)) for each in given])
    phrases, rows = texts(batch.texts["phrase"].ids), batch.texts["words"]
    assert len(phrases) == 3
    assert [texts(rows.ids[rows.owner == number]) for number in range(3)] == [phrase.split() for phrase in phrases]


def test_a_share_of_the_free_positions_is_left_before_a_text():
    for shift, start in ((0.0, None), (0.5, 6), (1.0, 12)):
        made = batcher(groups=(Words(shift=shift),), lengths={"caption": 15, "long_caption": 9, "phrase": 9})
        rows = made.collate([made.prepare(sample(long_caption="bus"), rng())]).texts["words"]
        assert (rows.start if rows.start is None else rows.start.tolist()) == (start if start is None else [start])


@pytest.mark.parametrize("groups", [(Words("caption"),), (Words(), Words())])
def test_two_groups_of_one_name_are_refused(groups):
    with pytest.raises(ValueError, match=r"Two groups of texts are named '(caption|words)'"):
        batcher(groups=groups)


def test_it_crosses_to_a_worker_and_goes_on_the_same():
    made = batcher(regions=2, edits=(Prefix(),))
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert again == made
    given = sample(regions=(region(0),))
    here, there = (each.collate([each.prepare(given)]) for each in (made, again))
    torch.testing.assert_close(here.texts["caption"].ids, there.texts["caption"].ids)
    torch.testing.assert_close(here.pixels, there.pixels)


def test_real_photos_with_captions_and_boxes_make_a_batch(shared_data):
    entries = json.loads((shared_data / "coco" / "annotations.json").read_text(encoding="utf-8"))["images"]
    chosen = [entry for entry in entries if entry["captions"] and entry["boxes"]][:6]
    samples = []
    for entry in chosen:
        size = (entry["width"], entry["height"]) * 2
        corners = [(x, y, x + w, y + h) for x, y, w, h in (box["bbox"] for box in entry["boxes"])]
        boxes = [tuple(value / side for value, side in zip(box, size, strict=True)) for box in corners]
        regions = tuple(Region(box, "a thing") for box in boxes)
        photo = shared_data / "coco" / "images" / f"{entry['id']:012d}.jpg"
        samples.append(Sample(str(entry["id"]), photo, tuple(entry["captions"]), regions=regions))
    made = batcher(transform=ImageTransform(), regions=3)
    batch = made.collate([made.prepare(given) for given in samples])
    assert batch.pixels.shape == (6, 3, 224, 224)
    assert torch.isfinite(batch.pixels).all()
    counts = torch.bincount(batch.region_image, minlength=6).tolist()
    assert counts == [min(3, len(entry["boxes"])) for entry in chosen]
    assert (batch.boxes[:, 2:] > batch.boxes[:, :2]).all()
    for text, entry in zip(texts(batch.texts["caption"].ids), chosen, strict=True):
        originals = Tokenizer.clip().decode(Tokenizer.clip().encode(entry["captions"], 77))
        assert text in originals
