"""PyTorch's files are read to the last bit, and what claims more than it holds is refused before it is made."""

import argparse
import pickle
import zipfile
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from torch import nn

from foveal.models import pickled
from foveal.models.pickled import UnknownNameError, read_pytorch

GLOBALS = b"ctorch._utils\n_rebuild_tensor_v2\n"


def tensors():
    """Every type and shape that weights come in, and views that share numbers."""
    whole = torch.randn(4, 6)
    half = [torch.randn(5).to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64)]
    integers = [torch.arange(5).to(dtype) for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)]
    return [
        *(whole, whole.t(), whole[1:3, ::2], torch.tensor(3.0), torch.zeros(0, 3), torch.tensor([True, False])),
        *(nn.Parameter(torch.randn(2, 3)), *half, *integers),
    ]


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_parity_with_the_loader_of_torch(tmp_path, legacy, protocol):
    content = {"epoch": 3, "lr": 1e-4, "name": "é", "none": None, "flags": (True, [1, 2 << 40]), 7: {}, "t": tensors()}
    options = {"_use_new_zipfile_serialization": not legacy, "pickle_protocol": protocol}
    torch.save(content, tmp_path / "a.pt", **options)
    result, expected = read_pytorch(tmp_path / "a.pt"), torch.load(tmp_path / "a.pt", weights_only=False)
    for mine, theirs in zip(result.pop("t"), expected.pop("t"), strict=True):
        assert (mine.dtype, mine.shape, mine.stride()) == (theirs.dtype, theirs.shape, theirs.stride())
        assert torch.equal(mine, theirs)
    assert result == expected


@pytest.mark.parametrize("legacy", [True, False])
def test_weights_are_read_beside_whatever_a_trainer_keeps(tmp_path, legacy):
    model = nn.Linear(3, 2)
    model(torch.ones(1, 3)).sum().backward()
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.step()
    beside = {"args": argparse.Namespace(lr=1, name="x"), "best": np.float64(3), "kind": torch.float32, "set": {1, 2}}
    beside |= {"size": torch.Size([1]), "counts": Counter("aab"), "lists": defaultdict(list, a=[1]), "bytes": b"ab"}
    content = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), **beside}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    result = read_pytorch(tmp_path / "a.pt")
    assert result.keys() == content.keys()
    assert {name: value.tolist() for name, value in result["state_dict"].items()} == {
        name: value.tolist() for name, value in model.state_dict().items()
    }


def test_tensors_are_mapped_and_their_file_is_never_written_to(tmp_path):
    torch.save({"a": torch.zeros(4)}, tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    read_pytorch(tmp_path / "a.pt")["a"].fill_(7.0)
    assert (tmp_path / "a.pt").read_bytes() == before


def archive(path, pickle_of_it, *, compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", pickle_of_it)
        for name, content in members.items():
            file.writestr(f"a/{name.replace('_', '/')}", content)
    return path


def tensor(*, count: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """The pickle of {"w": a tensor of a storage "0" of floats}."""
    numbers = ["0", count, offset, *size, *stride]
    coded = [pickle.dumps(number, 2)[2:-1] if isinstance(number, int) else number for number in numbers]
    _, count, offset, *rest = coded
    sizes, strides = b"".join(rest[: len(size)]), b"".join(rest[len(size) :])
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + count + b"tQ"
    arguments = b"(" + storage + offset + b"(" + sizes + b"t(" + strides + b"t\x89ccollections\nOrderedDict\n)Rt"
    return b"\x80\x02}X\x01\x00\x00\x00w" + GLOBALS + arguments + b"Rs."


def test_a_handmade_archive_is_read(tmp_path):
    floats = np.arange(6, dtype=np.float32)
    file = archive(tmp_path / "a.pt", tensor(count=6, size=(2, 3), stride=(3, 1)), data_0=floats.tobytes())
    assert read_pytorch(file)["w"].tolist() == floats.reshape(2, 3).tolist()


@pytest.mark.parametrize(
    ("numbers", "held", "said"),
    [
        ({"count": 6, "size": (2, 3), "stride": (3, 1)}, 5, r"data/'0' have 20 bytes, not those of 6"),
        ({"count": 1, "size": (1,), "stride": (1,)}, 500_000, r"data/'0' have 2,000,000 bytes, not those of 1"),
        ({"count": 6, "size": (7,), "stride": (1,)}, 6, r"shape \(7,\) in 6 numbers"),
        ({"count": 6, "size": (4,), "stride": (1,), "offset": 3}, 6, r"shape \(4,\) in 6 numbers"),
        ({"count": 6, "size": (3,), "stride": (3,)}, 6, r"shape \(3,\) in 6 numbers"),
        ({"count": 6, "size": (1 << 20, 1 << 20), "stride": (0, 0)}, 6, "in 6 numbers"),
        ({"count": 6, "size": (1 << 40, 1 << 40), "stride": (0, 0)}, 6, "in 6 numbers"),
        ({"count": 6, "size": (-1,), "stride": (1,)}, 6, "an impossible shape"),
        ({"count": 6, "size": (1, 1), "stride": (1,)}, 6, "an impossible shape"),
        ({"count": 1, "size": (1,) * 17, "stride": (1,) * 17}, 1, "an impossible shape"),
        ({"count": -6, "size": (1,), "stride": (1,)}, 6, "of no known type"),
    ],
)
def test_a_tensor_that_its_numbers_do_not_fill_is_refused(tmp_path, numbers, held, said):
    file = archive(tmp_path / "a.pt", tensor(**numbers), data_0=bytes(4 * held))
    with pytest.raises(ValueError, match=said):
        read_pytorch(file)


def test_compressed_numbers_are_refused_before_they_are_unfolded(tmp_path):
    """A file of 2 MB took 4 GB."""
    count = 1_000_000
    plain = tensor(count=count, size=(count,), stride=(1,))
    file = archive(tmp_path / "a.pt", plain, compression=zipfile.ZIP_DEFLATED, data_0=bytes(4 * count))
    assert file.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"data/'0' are compressed, 3,[89]\d\d bytes for 4,000,000"):
        read_pytorch(file)


def test_members_may_not_lie_in_one_another(tmp_path):
    """Many members that share one place let a small file claim any size."""
    file = archive(tmp_path / "a.pt", tensor(count=6, size=(6,), stride=(1,)), data_0=bytes(24), data_1=bytes(24))
    content = bytearray(file.read_bytes())
    entries = [at for at in range(len(content)) if content[at : at + 4] == b"PK\x01\x02"]
    content[entries[2] + 42 : entries[2] + 46] = content[entries[1] + 42 : entries[1] + 46]
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"member '.*' lies in another one"):
        read_pytorch(file)


def test_a_member_is_where_and_as_large_as_the_table_of_contents_says(tmp_path):
    file = archive(tmp_path / "a.pt", tensor(count=6, size=(6,), stride=(1,)), data_0=bytes(24))
    whole = file.read_bytes()
    entry = whole.rindex(b"PK\x01\x02")
    for place, value, said in ((20, 10**9, "is cut off"), (42, 7, "lies in another one|is not where")):
        content = bytearray(whole)
        content[entry + place : entry + place + 4] = value.to_bytes(4, "little")
        file.write_bytes(content)
        with pytest.raises((ValueError, zipfile.BadZipFile), match=said):
            read_pytorch(file)


def test_a_name_stands_once_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
        file.writestr("a/data.pkl", b"\x80\x02}.")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a/data.pkl", b"\x80\x02].")
    with pytest.raises(ValueError, match="names a member twice"):
        read_pytorch(tmp_path / "a.pt")


def test_numbers_of_the_other_byte_order_are_refused(tmp_path):
    file = archive(tmp_path / "a.pt", tensor(count=1, size=(1,), stride=(1,)), data_0=bytes(4), byteorder=b"big")
    with pytest.raises(ValueError, match="big-endian"):
        read_pytorch(file)


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("_LARGEST_DIRECTORY", 50, "table of contents claims"),
        ("_LARGEST_PICKLE", 50, r"data\.pkl claims"),
        ("_MOST_INSTRUCTIONS", 5, "more than 5 instructions"),
    ],
)
def test_what_is_unfolded_in_memory_is_bounded(tmp_path, monkeypatch, limit, value, said):
    monkeypatch.setattr(pickled, limit, value)
    file = archive(tmp_path / "a.pt", tensor(count=1, size=(1,), stride=(1,)), data_0=bytes(4))
    with pytest.raises(ValueError, match=said):
        read_pytorch(file)


def test_a_far_place_in_the_memo_takes_no_memory(tmp_path):
    """The standard library's reader makes room for all places before it: 30 GB for these 10 bytes."""
    assert read_pytorch(archive(tmp_path / "a.pt", b"\x80\x02}r\xff\xff\xff\x7f.")) == {}


def test_tuples_in_tuples_are_no_key(tmp_path):
    """The hash of a tuple that holds one twice, which holds another twice, takes a day at depth 40."""
    doubled = b"q\x00h\x00\x86" * 60
    with pytest.raises(ValueError, match="keys are of type tuple"):
        read_pytorch(archive(tmp_path / "a.pt", b"\x80\x02})" + doubled + b"K\x01s."))


def scripted(path, pickle_of_it):
    """An archive of TorchScript."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickle_of_it)
        file.writestr("a/constants.pkl", b"")
    return path


NEW_MODULE = b"c__torch__\nM\n)\x81"


def modules(depth: int) -> bytes:
    """Modules that hold the next one twice, as TorchScript pickles them; the last holds none."""
    chain = NEW_MODULE + b"}b"
    for _ in range(depth):
        chain += b"q\x00" + NEW_MODULE + b"}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00ub"
    return b"\x80\x02" + chain + b"."


def test_modules_that_multiply_are_refused(tmp_path):
    assert read_pytorch(scripted(tmp_path / "a.pt", modules(3))) == {}
    with pytest.raises(ValueError, match="modules in modules without end"):
        read_pytorch(scripted(tmp_path / "a.pt", modules(60)))


def test_a_module_in_itself_is_refused(tmp_path):
    itself = b"\x80\x02" + NEW_MODULE + b"q\x00}X\x01\x00\x00\x00ah\x00sb."
    with pytest.raises(ValueError, match="modules in modules without end"):
        read_pytorch(scripted(tmp_path / "a.pt", itself))


@pytest.mark.parametrize(
    "name", ["builtins.eval", "os.system", "torch.load", "torch.hub.load", "torch._utils.x", "foveal.load"]
)
def test_what_would_have_to_be_run_is_named(tmp_path, name):
    module, _, function = name.rpartition(".")
    words = [b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, function)]
    for written in (f"c{module}\n{function}\n".encode(), b"".join(words) + b"\x93"):
        with pytest.raises(UnknownNameError, match=name):
            read_pytorch(archive(tmp_path / "a.pt", b"\x80\x04" + written + b")R."))


def test_a_file_from_before_archives_may_not_claim_more_than_it_holds(tmp_path):
    torch.save({"w": torch.zeros(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pt").read_bytes()
    assert content.count(b"K\x03Nt") == 1
    (tmp_path / "b.pt").write_bytes(content.replace(b"K\x03Nt", b"J\x00\x00\x00\x40Nt"))
    with pytest.raises(ValueError, match=r"its tensors claim 4,294,967,296 bytes"):
        read_pytorch(tmp_path / "b.pt")
    (tmp_path / "b.pt").write_bytes(content[:-4])
    with pytest.raises(ValueError, match=r"its numbers '\d+' are cut off"):
        read_pytorch(tmp_path / "b.pt")


def test_an_ordered_dictionary_of_old_keeps_its_pairs(tmp_path):
    torch.save(OrderedDict(a=torch.ones(1)), tmp_path / "a.pt")
    assert list(read_pytorch(tmp_path / "a.pt")) == ["a"]
