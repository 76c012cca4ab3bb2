import gzip
import html
import itertools
import json
import multiprocessing
import pickle
import random
import string
from pathlib import Path

import ftfy
import pytest
import regex
import tokenizers
import torch
from tokenizers import models, pre_tokenizers, processors

from foveal.data import tokenizer as module
from foveal.data.tokenizer import Tokenizer, is_clips, padding_id

BOS, EOS = 49406, 49407
HARD = [
    "",
    " ",
    "a photo of a cat",
    "The DOG'S bowl isn't full; they'll've said 'tis '90s rock'n'roll, I'M, YOU'RE",
    "it\u2019s \u201ccurly\u201d \u2018quotes\u2019 \u2013 \u2014 \u2026 \ufb01ne o\ufb03ce",
    "café cafe\u0301 na\u00efve \u00c5ngstr\u00f6m \u212b \u0130stanbul STRASSE",
    "stra\u00dfe \u039f\u0394\u039f\u03a3 '\u017f",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "\u2764\ufe0f 1\ufe0f\u20e3 \U0001f44d\U0001f3fd",
    "\u4e2d\u6587\u63cf\u8ff0\uff0c\u5168\u89d2\uff21\uff22\uff23\uff11\uff12\uff13",
    "\u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8 \ud55c\uad6d\uc5b4",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 \u1e9e",
    "tabs\tand\nlines\r\nand\x0bmore\x0c \u00a0\u2003\u3000\u200b\u2028\u2029\x85 spaces",
    "control \x00\x01\x1b[31mred\x1b[0m\x1c\x1f\x7f\ufeff\ufffe marks",
    "&lt;b&gt; &amp;amp; &amp;lt; &#39; &#x1F600; &nbsp; &eacute; &NTILDE; &bogus; AT&T &#0; &#128;",
    "\u00c3\u00a9t\u00e9 schÃ¶n â€œmojibakeâ€\x9d",
    "123 4567 3.14 1,000,000 \u00bd \u00b2 \u2163 \u0663\u0664 50% $9.99 #1 50mm 2x4",
    "!!! !a! #!/bin/sh ?!... --- ___ ((())) @user https://a.b/c?d=e&f=g",
    "<b>html</b> </w> a</w>b <image> [SEP]",
    "supercalifragilisticexpialidocious" * 3,
    "a" * 300 + " " + "!" * 300,
]


@pytest.fixture(scope="module")
def reference():
    """OpenAI's tokenizer, from its description, slowly: greedy merging of the best-ranked pair."""
    lines = gzip.decompress(module._VOCABULARY.read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    letter = {b: chr(b) for b in printable}
    for b in range(256):
        letter.setdefault(b, chr(256 + len(letter) - len(printable)))
    words = list(letter.values())
    words += [w + "</w>" for w in words] + ["".join(pair) for pair in merges]
    ids, rank = {w: i for i, w in enumerate(words)}, {pair: i for i, pair in enumerate(merges)}
    pattern = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)

    def encode(text: str) -> list[int]:
        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        text = regex.sub(r"\s+", " ", text).strip().lower()
        result = []
        for word in pattern.findall(text):
            parts = [letter[b] for b in word.encode()]
            parts[-1] += "</w>"
            while len(parts) > 1:
                best = min(itertools.pairwise(parts), key=lambda pair: rank.get(pair, 1 << 30))
                if best not in rank:
                    break
                merged, i = [], 0
                while i < len(parts):
                    hit = tuple(parts[i : i + 2]) == best
                    merged.append("".join(parts[i : i + 1 + hit]))
                    i += 1 + hit
                parts = merged
            result += [ids[part] for part in parts]
        return [BOS, *result, EOS]

    return encode


@pytest.fixture(scope="module")
def transformers_clip(tmp_path_factory):
    """The tokenizer of `transformers`, made from the same merges, and the folder it saves itself to."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    vocabulary = module._clip_backend().get_vocab()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = gzip.decompress(module._VOCABULARY.read_bytes()).decode()
    pairs = [tuple(line.split()) for line in merges.splitlines()[1:]]
    built = transformers.CLIPTokenizer(vocab=vocabulary, merges=pairs)
    built.save_pretrained(folder)
    return built, folder


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode([text], 1 << 20)[0].tolist()


@pytest.mark.parametrize("text", HARD, ids=range(len(HARD)))
def test_parity_with_openais_tokenizer_on_hard_texts(reference, text):
    assert ids_of(Tokenizer.clip(), text) == reference(text)


def test_parity_with_openais_tokenizer_on_random_text(reference):
    draw = random.Random(0)
    alphabet = "abcXYZ019 '\"!?.,;&<>|\t\n-_\u00e9\u2019\u4e2d\U0001f600st"
    for _ in range(300):
        text = "".join(draw.choices(alphabet, k=draw.randint(1, 40)))
        assert ids_of(Tokenizer.clip(), text) == reference(text), repr(text)


def test_parity_on_a_text_of_ten_thousand_characters(reference):
    text = " ".join(f"Word{n}'s café & {n}" for n in range(700))[:10_000]
    ours = Tokenizer.clip().encode([text], 248, "keep")[0].tolist()
    assert ours == reference(text)
    assert len(ours) > 2_000


def test_parity_with_transformers_of_a_tokenizer_json(transformers_clip):
    theirs, folder = transformers_clip
    ours = Tokenizer.open(folder)
    assert ours.eos_id == EOS
    assert ours.vocabulary == 49408
    for text in HARD:
        assert ids_of(ours, text) == theirs(text)["input_ids"], repr(text)


@pytest.mark.parametrize("text", HARD, ids=range(len(HARD)))
def test_parity_with_transformers_on_hard_texts(transformers_clip, text):
    assert ids_of(Tokenizer.clip("nfc"), text) == transformers_clip[0](text)["input_ids"]


def test_parity_with_transformers_on_random_text(transformers_clip):
    theirs, ours = transformers_clip[0], Tokenizer.clip("nfc")
    draw = random.Random(0)
    alphabet = (
        "abXYZ019 '\"!?.&;<>\t\n\x0b\x1c\x1f\x85\u00a0\u00ad\u200b\u3000e\u0301\u03a3\u0130\u2019\u4e2d\U0001f600st"
    )
    for _ in range(500):
        text = "".join(draw.choices(alphabet, k=draw.randint(1, 40)))
        assert ids_of(ours, text) == theirs(text)["input_ids"], repr(text)


def test_parity_with_transformers_on_captions_of_photos(shared_data, transformers_clip):
    """Some were cleaned otherwise: quotes straightened, entities replaced."""
    texts = captions(shared_data)
    theirs, ours = transformers_clip[0](texts)["input_ids"], Tokenizer.clip("nfc")
    assert [ids_of(ours, text) for text in texts] == theirs
    assert sum(ids_of(Tokenizer.clip(), text) != ids for text, ids in zip(texts, theirs, strict=True)) > 0


def captions(folder: Path) -> list[str]:
    """Captions of photos, as they were written."""
    annotations = json.loads((folder / "captions" / "coco_captions_val2017.json").read_text(encoding="utf-8"))
    coco = [row["caption"] for row in annotations["annotations"]]
    lines = (folder / "captions" / "iiw400.jsonl").read_text(encoding="utf-8").splitlines()
    return coco[:: len(coco) // 1_500] + [json.loads(line)["IIW"] for line in lines]


def test_clips_tokenizer_of_transformers_is_known_by_what_it_does(transformers_clip, tmp_path):
    written = json.loads((transformers_clip[1] / "tokenizer.json").read_text(encoding="utf-8"))
    assert is_clips(transformers_clip[1] / "tokenizer.json")
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    steps = written["normalizer"]["normalizers"]
    changes = [{"normalizer": {"type": "Sequence", "normalizers": steps[:at] + steps[at + 1 :]}} for at in (0, 2)]
    changes.append({"pre_tokenizer": plain})
    for number, change in enumerate(changes):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(written | change), encoding="utf-8")
        assert not is_clips(file), change


def test_parity_with_siglips_own_way_with_punctuation():
    """Lower case, punctuation of ASCII away, white space joined."""
    ours = Tokenizer(Path("tokenizer.json"), lower=True, drop_punctuation=True)
    for text in HARD:
        kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
        assert ours._prepared(text) == regex.sub(r"[\s\x1c-\x1f]+", " ", kept).strip(" ")


def test_a_tokenizer_of_gigabytes_is_refused(tmp_path):
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(1 << 32)  # takes no room on the disk
    with pytest.raises(ValueError, match=r"tokenizer\.json has more than 268,435,456 bytes"):
        Tokenizer.open(tmp_path)


def test_captions_of_photos_are_equal_to_the_reference(shared_data, reference):
    lines = (shared_data / "captions" / "iiw400.jsonl").read_text(encoding="utf-8").splitlines()[:40]
    texts = [json.loads(line)["IIW"] for line in lines]
    ours = Tokenizer.clip().encode(texts, 248, "keep").tolist()
    assert [row[: row.index(EOS) + 1] for row in ours] == [reference(text) for text in texts]


@pytest.mark.parametrize("mark", ["<|endoftext|>", "<|startoftext|>"])
def test_a_literal_mark_in_a_text_stays_text(transformers_clip, mark):
    for tokenizer in (Tokenizer.clip(), Tokenizer.open(transformers_clip[1])):
        row = ids_of(tokenizer, f"a cat {mark} a dog")
        assert row[0] == BOS
        assert row[-1] == EOS
        assert row.count(BOS) + row.count(EOS) == 2
        assert tokenizer.decode(torch.tensor([row]))[0].endswith("a dog")


def test_known_ids():
    rows = Tokenizer.clip().encode(["a photo of a cat", "!"], 77)
    assert rows.tolist() == [[BOS, 320, 1125, 539, 320, 2368, EOS], [BOS, 256, EOS, 0, 0, 0, 0]]


def test_an_exclamation_mark_inside_a_word_has_id_zero_and_is_kept():
    row = ids_of(Tokenizer.clip(), "#!/bin/sh")
    assert 0 in row
    assert row[-1] == EOS


def test_rows_are_as_long_as_the_longest_text_or_as_the_length():
    texts = ["a cat", "a cat and a dog"]
    short, full = Tokenizer.clip(), Tokenizer(pad_to_length=True, pad_id=7)
    assert short.encode(texts, 77).shape == (2, 7)
    padded = full.encode(texts, 20)
    assert padded.shape == (2, 20)
    assert padded[0].tolist() == [BOS, 320, 2368, EOS, *[7] * 16]


def test_no_texts_give_no_rows():
    assert Tokenizer.clip().encode([], 77).shape == (0, 1)


def test_truncation_ends_in_the_end_mark_and_keeps_the_start():
    whole = ids_of(Tokenizer.clip(), "one two three four five six")
    cut = Tokenizer.clip().encode(["one two three four five six", "one"], 5, "truncate")
    assert cut[0].tolist() == [*whole[:4], EOS]
    assert cut[1].tolist() == [*whole[:2], EOS, 0, 0]


def test_a_text_that_just_fits_is_no_error():
    assert Tokenizer.clip().encode(["one two three"], 5, "error").shape == (1, 5)


def test_a_text_too_long_is_named_with_the_way_out():
    text = "one two three " * 30
    with pytest.raises(
        ValueError, match=r"Text of 92 tokens exceeds the length of 77: 'one two .*overflow=\"truncate\""
    ):
        Tokenizer.clip().encode(["fine", text], 77)


def test_count_is_the_length_of_the_row():
    assert Tokenizer.clip().count(HARD) == [len(ids_of(Tokenizer.clip(), text)) for text in HARD]
    assert Tokenizer.clip().count([""]) == [2]


def test_decoding_gives_the_words_back():
    texts = ["a photo of a café", "\U0001f600 café \u4e2d\u6587", ""]
    rows = Tokenizer.clip().encode(texts, 77)
    assert Tokenizer.clip().decode(rows) == texts


def test_halves_of_surrogate_pairs_do_not_stop_a_run(transformers_clip, reference):
    broken = "a cat \ud83d here"
    for cleaning in ("ftfy", "nfc"):
        assert ids_of(Tokenizer.clip(cleaning), broken) == reference("a cat \ufffd here")
    assert ids_of(Tokenizer.open(transformers_clip[1]), broken)[-2] == ids_of(Tokenizer.clip(), "here")[1]


def siglip_like(folder: Path) -> Path:
    """A word-level tokenizer that puts <eos> behind a text, pads, cuts, and knows only lower case."""
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2, "a": 3, "cat": 4}
    backend = tokenizers.Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["<pad>", "<eos>"])
    backend.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    backend.enable_truncation(2)
    backend.enable_padding(length=3)
    backend.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def test_a_siglip_like_tokenizer_pads_to_the_length_and_lowers(tmp_path):
    tokenizer = Tokenizer.open(siglip_like(tmp_path), lower=True, pad_to_length=True)
    assert tokenizer.encode(["A Cat", "a a a a a cat <eos>"], 6, "truncate").tolist() == [
        [3, 4, 1, 0, 0, 0],
        [3, 3, 3, 3, 3, 1],
    ]
    assert tokenizer.encode([], 6).shape == (0, 6)
    assert tokenizer.eos_id == 1
    assert tokenizer.decode(torch.tensor([[3, 4, 1, 0]])) == ["a cat"]


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no tokenizer at .*tokenizer\.json"):
        Tokenizer.open(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "[1, 2", '{"model": {"type": "BPE"}}'])
def test_a_broken_tokenizer_json_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        Tokenizer.open(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"model": {"type": "BPE", "vocab": {"a": 0, "b": 5}, "merges": ["a b"]}},
        {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "<unk>"}},
        {"post_processor": {"type": "BertProcessing", "sep": ["<eos>", 10**9], "cls": ["<pad>", 0]}},
        {"truncation": "[" * 100},
    ],
)
def test_a_tokenizer_json_that_the_library_panics_at_is_refused_in_a_line(tmp_path, change):
    written = json.loads(siglip_like(tmp_path).read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(written | change))
    with pytest.raises(ValueError, match=r"tokenizer\.json (is no tokenizer\.json|sets the mark 10+)") as caught:
        Tokenizer.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_an_end_mark_is_refused(tmp_path):
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="no end mark"):
        Tokenizer.open(tmp_path)


def test_a_length_without_room_and_a_bare_string_are_refused():
    with pytest.raises(ValueError, match="length of 2 leaves no room"):
        Tokenizer.clip().encode(["a"], 2)
    with pytest.raises(ValueError, match="list"):
        Tokenizer.clip().encode("a cat", 77)


def test_it_crosses_to_another_process_with_the_same_answer(tmp_path):
    for tokenizer in (Tokenizer.clip(), Tokenizer.open(siglip_like(tmp_path), lower=True)):
        again = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301
        assert again == tokenizer
        assert ids_of(again, "A cat") == ids_of(tokenizer, "A cat")
        assert len(pickle.dumps(tokenizer)) < 1000


def _count_in_child(texts: list[str], answers: "multiprocessing.Queue[list[int]]") -> None:
    answers.put(Tokenizer.clip().count(texts))


def test_it_works_in_a_forked_child_in_silence(capfd):
    """Tokenizers that ran threads before a fork warn in the child, or hang."""
    texts = ["a cat", "café"] * 50
    here = Tokenizer.clip().count(texts)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_count_in_child, args=(texts, answers))
    child.start()
    assert answers.get(timeout=30) == here
    child.join()
    assert capfd.readouterr().err == ""


@pytest.fixture
def like_gemma(tmp_path):
    """A tokenizer that sets no marks itself, and the config beside it that does."""
    backend = tokenizers.Tokenizer(
        models.WordLevel({"<pad>": 0, "<eos>": 1, "<bos>": 2, "?": 3, "a": 4}, unk_token="?")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.save(str(tmp_path / "tokenizer.json"))

    def write(**config):
        module._vocabulary.cache_clear()
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        return tmp_path

    return write


def test_the_config_beside_a_tokenizer_says_which_marks_it_sets(like_gemma):
    marks = {"bos_token": "<bos>", "eos_token": {"content": "<eos>"}, "pad_token": "<pad>"}
    folder = like_gemma(add_bos_token=False, add_eos_token=True, **marks)
    assert Tokenizer.open(folder).encode(["a a"], 8).tolist() == [[4, 4, 1]]
    assert padding_id(folder) == 0
    folder = like_gemma(add_bos_token=True, add_eos_token=True, **marks)
    assert Tokenizer.open(folder).encode(["a a"], 8).tolist() == [[2, 4, 4, 1]]
    with pytest.raises(ValueError, match="sets no end mark"):
        Tokenizer.open(like_gemma(**marks))


def test_a_saved_tokenizer_is_the_same(like_gemma, tmp_path):
    folder = like_gemma(add_eos_token=True, eos_token="<eos>")
    Tokenizer.open(folder).save(tmp_path / "copy")
    assert Tokenizer.open(tmp_path / "copy").encode(["a"], 8).tolist() == [[4, 1]]
    Tokenizer.clip().save(tmp_path / "clip")
    assert not (tmp_path / "clip").exists()


def test_siglip_reads_no_punctuation(like_gemma):
    folder = like_gemma(add_eos_token=True, eos_token="<eos>")
    ids = Tokenizer.open(folder, lower=True, drop_punctuation=True).encode(["A,  a. (a)!", "a a a"], 9)
    assert ids[0].tolist() == ids[1].tolist() == [4, 4, 4, 1]
