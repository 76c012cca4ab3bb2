"""Tensors come out of files of every kind, and nothing that a file asks for is ever run."""

import json
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from foveal.models.tensors import read_tensors


class Payload:
    """What a malicious pickle does when it is opened: here, make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(4)
        self.attn = nn.MultiheadAttention(4, 2)

    def forward(self, x):
        return self.attn(self.ln(x), x, x)[0]


class Model(nn.Module):
    """Parameters of half and full precision, a transposed one, a buffer of whole numbers, modules in modules."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.proj = nn.Parameter(torch.randn(3, 4).half().t())
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, x):
        return self.blocks(x) + self.proj.float().sum()


def write_archive(path: Path, *, traced: bool) -> dict[str, torch.Tensor]:
    """An archive of TorchScript, and what it holds."""
    model = Model().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript old; so are OpenAI's files
        made = torch.jit.trace(model, torch.randn(2, 3, 4)) if traced else torch.jit.script(model)
        torch.jit.save(made, path)
    return model.state_dict()


def rewrite(path: Path, change) -> None:
    """The same archive with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("traced", [True, False])
def test_an_archive_of_torch_script_gives_its_state(tmp_path, traced):
    expected = write_archive(tmp_path / "model.pt", traced=traced)
    found = read_tensors(tmp_path / "model.pt")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_the_code_of_an_archive_is_not_even_opened(tmp_path):
    expected = write_archive(tmp_path / "model.pt", traced=True)

    def break_code(members):
        for name in members:
            if "/code/" in name:
                members[name] = b"this is no code"

    rewrite(tmp_path / "model.pt", break_code)
    assert read_tensors(tmp_path / "model.pt").keys() == expected.keys()


@pytest.mark.parametrize("legacy", [True, False])
def test_a_malicious_pickle_is_refused_without_running_it(tmp_path, legacy):
    target = tmp_path / "owned"
    content = {"weight": torch.zeros(2), "extra": Payload(target)}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"model\.pt would run \S+ if it were opened, so it was not"):
        read_tensors(tmp_path / "model.pt")
    assert not target.exists()
    torch.load(tmp_path / "model.pt", weights_only=False)["extra"].close()
    assert target.exists()  # so the payload is a real one


def test_a_bare_malicious_pickle_is_refused_without_running_it(tmp_path):
    target = tmp_path / "owned"
    (tmp_path / "model.bin").write_bytes(pickle.dumps(Payload(target), 2))
    with pytest.raises(ValueError, match=r"model\.bin (would run|is no whole file of tensors)"):
        read_tensors(tmp_path / "model.bin")
    assert not target.exists()


def test_a_malicious_archive_is_refused_without_running_it(tmp_path):
    target = tmp_path / "owned"
    write_archive(tmp_path / "model.pt", traced=True)
    rewrite(tmp_path / "model.pt", lambda members: members.update({"model/data.pkl": pickle.dumps(Payload(target), 2)}))
    with pytest.raises(ValueError, match=r"model\.pt would run \S*open if it were opened"):
        read_tensors(tmp_path / "model.pt")
    assert not target.exists()


def test_an_archive_cannot_change_how_the_next_one_is_read(tmp_path):
    """BUILD sets attributes on whatever a file names; all of that is made anew for every file."""
    expected = write_archive(tmp_path / "model.pt", traced=True)
    attack = b"\x80\x02c__torch__\nModel\nN}X\x08\x00\x00\x00__dict__K\x01s\x86b."  # setattr(Model, "__dict__", 1)
    set_state = b"\x80\x02c__torch__\nModel\nN}X\x0c\x00\x00\x00__setstate__ccollections\nOrderedDict\ns\x86b."
    for payload in (attack, set_state):
        (tmp_path / "bad.pt").write_bytes((tmp_path / "model.pt").read_bytes())
        rewrite(tmp_path / "bad.pt", lambda members, payload=payload: members.update({"model/data.pkl": payload}))
        with pytest.raises(ValueError, match=r"bad\.pt (is no whole file of|holds)"):
            read_tensors(tmp_path / "bad.pt")
    assert read_tensors(tmp_path / "model.pt").keys() == expected.keys()


def test_an_archive_that_claims_more_numbers_than_it_holds_is_broken(tmp_path):
    write_archive(tmp_path / "model.pt", traced=True)
    rewrite(tmp_path / "model.pt", lambda members: members.update({"model/data/0": b"\x00\x00"}))
    with pytest.raises(ValueError, match=r"model\.pt is no whole file of tensors"):
        read_tensors(tmp_path / "model.pt")


def test_a_file_cut_off_anywhere_is_named(tmp_path):
    torch.save({"weight": torch.randn(50)}, tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 5):
        (tmp_path / "cut.pt").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut\.pt is no whole file of tensors") as caught:
            read_tensors(tmp_path / "cut.pt")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.zeros(3), "holds Tensor, no named tensors"),
        ({}, "holds dict, no named tensors"),
        ({"weight": torch.zeros(1), "epoch": 3}, "holds int under 'epoch', no tensor"),
    ],
)
def test_other_things_than_named_tensors_are_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=said):
        read_tensors(tmp_path / "model.pt")


STATE = {"a.weight": torch.randn(2), "b": torch.randn(3)}


def values(state):
    return {name: tensor.tolist() for name, tensor in state.items()}


@pytest.mark.parametrize("wrappers", [(), ("state_dict",), ("model", "state_dict"), ("module", "model_state_dict")])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.model.", "model.module."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_trainers_put_around_weights_is_taken_off(tmp_path, wrappers, prefix, suffix):
    content = {prefix + name: tensor for name, tensor in STATE.items()}
    if suffix == ".safetensors":
        save_file(content, tmp_path / "model.safetensors")
    else:
        for wrapper in wrappers:
            content = {"epoch": 1, wrapper: content, "optimizer": {"lr": 1.0}}
        torch.save(content, tmp_path / "model.pt")
    assert values(read_tensors(tmp_path / f"model{suffix}")) == values(STATE)


def test_a_prefix_that_not_all_names_have_is_part_of_the_names(tmp_path):
    for state in (STATE | {"model.c": torch.ones(1)}, {"model.c": torch.ones(1), "module.d": torch.ones(1)}):
        save_file(state, tmp_path / "model.safetensors")
        assert read_tensors(tmp_path / "model.safetensors").keys() == state.keys()


def test_a_dictionary_in_itself_ends(tmp_path):
    content = {}
    content["model"] = content
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="holds dict under 'model', no tensor"):
        read_tensors(tmp_path / "model.pt")


def test_tensors_that_share_numbers_are_not_multiplied(tmp_path):
    """Weights are copied in full precision, so a thousand names of one tensor took a thousand times its memory."""
    shared = torch.randn(10_000)
    torch.save(dict.fromkeys(("tied", "twice"), shared), tmp_path / "model.pt")
    assert read_tensors(tmp_path / "model.pt").keys() == {"tied", "twice"}
    torch.save({str(number): shared for number in range(100)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"its tensors share numbers: they have 4,000,000 bytes"):
        read_tensors(tmp_path / "model.pt")


def raw_safetensors(path, header, numbers=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return path


@pytest.mark.parametrize(
    ("header", "numbers"),
    [
        ({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}, 8),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, 16),
        ({name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}, 8),
        ({"a": {"dtype": "F32", "shape": [1 << 62, 16], "data_offsets": [0, 0]}}, 0),
        ({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 1]}}, 1),
        (b"[" * 100_000, 0),
        (b"", 0),
    ],
)
def test_a_table_of_safetensors_that_does_not_fit_is_refused(tmp_path, header, numbers):
    file = raw_safetensors(tmp_path / "model.safetensors", header, bytes(numbers))
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file") as caught:
        read_tensors(file)
    assert "\n" not in str(caught.value)


def test_a_table_of_safetensors_is_bounded(tmp_path, monkeypatch):
    """A table of 100 MB with a million empty tensors takes gigabytes."""
    many = {str(number): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(100)}
    file = raw_safetensors(tmp_path / "model.safetensors", many)
    assert len(read_tensors(file)) == 100
    monkeypatch.setattr("foveal.models.tensors._LARGEST_HEADER", 5_000)
    with pytest.raises(ValueError, match="its table of contents claims 6,"):
        read_tensors(file)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/x.safetensors", "model.safetensors.index.json", "x.txt", ""]
)
def test_an_index_names_files_of_tensors_beside_it_alone(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ValueError, match=r"which lies outside its folder or is no file of tensors"):
        read_tensors(index)


def test_shards_are_put_together_and_an_incomplete_index_is_told(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "two.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    places = {"a": "one.safetensors", "b": "two.safetensors"}
    index.write_text(json.dumps({"weight_map": places}))
    assert read_tensors(index).keys() == {"a", "b"}
    index.write_text(json.dumps({"weight_map": places | {"c": "two.safetensors"}}))
    with pytest.raises(ValueError, match=r"1 tensors of .* are in no shard, the first is c"):
        read_tensors(index)
    index.write_text("[]")
    with pytest.raises(ValueError, match="is no index of shards"):
        read_tensors(index)
