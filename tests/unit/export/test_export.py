"""Whole exports: files that onnxruntime runs, as the readers of the layout feed them, and a report that is true."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import tokenizers
import torch

from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.export.export import export, summary
from foveal.export.graphs import graphs
from foveal.export.onnx import SharedWeights, check, need, session
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import fg_clip, fg_clip2, siglip2_b_16, tiny

TEXTS = ["a cat", "two small dogs on a red tile, one of them asleep", ""]
slow = pytest.mark.slow


def encoder_of(config, **protocol):
    torch.manual_seed(0)
    chosen = Protocol(**{"family": "fg_clip", "resize": "crop"} | protocol)
    return Encoder(DualEncoder(config).eval(), Tokenizer.clip(), chosen.transform(config.vision), protocol=chosen)


def python(code, *arguments):
    """Runs code where no shapes are checked: a tracer's are names, and a check would make numbers of them."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


SOME = """
import sys
from foveal.cli.main import main
from foveal.export import export
names, every = sys.argv[1].split(","), export.graphs
if names != ["all"]:
    export.graphs = lambda *given, **options: [graph for graph in every(*given, **options) if graph.name in names]
sys.exit(main(sys.argv[2:]))
"""


def exports(encoder, out, *flags, names="all"):
    """`foveal export` of this model, of some graphs alone to save time: what it prints, and its report."""
    encoder.save(out.with_name("model"))
    said = python(SOME, names, "export", out.with_name("model"), "--out", out, "--onnx", *flags)
    return said, json.loads((out / "report.json").read_text())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """FG-CLIP, tiny, in float32: the encoder, the folder, what was said and the report."""
    encoder = encoder_of(fg_clip(tiny()))
    out = tmp_path_factory.mktemp("export") / "out"
    return encoder, out, *exports(encoder, out)


def run(file, **inputs):
    running = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(given) for given in running.run(None, inputs)]


@slow
def test_the_folder_is_what_photo_applications_read(exported):
    encoder, out, *_ = exported
    assert {path.name for path in out.parent.iterdir()} == {"model", "out"}
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"visual", "textual"}
    assert {path.name for path in (out / "visual").iterdir()} == {"model.onnx", "preprocess_cfg.json"}
    prepared = json.loads((out / "visual/preprocess_cfg.json").read_text())
    assert (prepared["size"], prepared["resize_mode"], prepared["interpolation"]) == ([32, 32], "shortest", "bicubic")
    # As Immich does it: the tokenizer padded to the context by its own padding, one text a row, 32-bit integers.
    length = json.loads((out / "config.json").read_text())["text_cfg"]["context_length"]
    tokenizer = tokenizers.Tokenizer.from_file(str(out / "textual/tokenizer.json"))
    pad = json.loads((out / "textual/tokenizer_config.json").read_text())["pad_token"]
    tokenizer.enable_padding(length=length, pad_token=pad, pad_id=tokenizer.token_to_id(pad))
    tokenizer.enable_truncation(max_length=length)
    for text, expected in zip(TEXTS, encoder.encode_texts(TEXTS), strict=True):
        (given,) = run(out / "textual/model.onnx", text=np.array([tokenizer.encode(text).ids], dtype=np.int32))
        torch.testing.assert_close(given[0], expected, rtol=0, atol=1e-5)
    scenes = [scene.image for scene in Scenes(count=3, size=40)]
    image = encoder.transform.stack([encoder.transform(scene) for scene in scenes]).numpy()
    (given,) = run(out / "visual/model.onnx", image=image)
    torch.testing.assert_close(given, encoder.encode_images(scenes), rtol=0, atol=1e-5)


@slow
def test_regions_and_patches_come_from_one_graph_also_without_any_box(exported):
    encoder, out, *_ = exported
    image = torch.randn(2, 3, 32, 32)
    boxes, owner = torch.tensor([[0.1, 0.2, 0.9, 0.6]]), torch.tensor([1])
    embedding, patches, regions = run(
        out / "regions.onnx", image=image.numpy(), boxes=boxes.numpy(), region_image=owner.numpy()
    )
    torch.testing.assert_close(embedding, encoder.model.encode_images(image).detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(patches, encoder.model.encode_patches(image)[0].detach(), rtol=0, atol=1e-5)
    expected = encoder.model.encode_regions(image, boxes, owner).detach()
    torch.testing.assert_close(regions, expected, rtol=0, atol=1e-5)
    *_, none = run(out / "regions.onnx", image=image.numpy(), boxes=boxes[:0].numpy(), region_image=owner[:0].numpy())
    assert none.shape == (0, 16)


@slow
def test_graphs_beside_the_two_share_their_weights_and_tell_nothing_of_where_they_were_made(exported):
    encoder, out, _, report = exported
    shared = [entry["file"] for name, entry in report["graphs"].items() if name not in ("visual", "textual")]
    assert len(shared) == 5
    parameters = 4 * sum(parameter.numel() for parameter in encoder.model.parameters())
    assert (out / "weights.bin").stat().st_size < 1.1 * parameters
    for file in shared:
        assert (out / file).stat().st_size < 200_000
    for file in [*shared, "visual/model.onnx", "textual/model.onnx"]:
        content = (out / file).read_bytes()
        assert b".py" not in content
        assert sys.prefix.encode() not in content


@slow
def test_the_report_says_what_was_measured(exported):
    _, out, said, report = exported
    assert report["kinds"] == {"caption": "textual", "long_caption": "long_caption", "phrase": "textual"}
    for entry in report["graphs"].values():
        differences = entry["difference_to_torch"]
        assert len(differences) == 4 * len(entry["outputs"])
        assert all(0 <= difference <= 1e-4 for difference in differences.values())
    sizes = report["graphs"]["long_caption"]["difference_to_torch"]
    assert "embedding, 3 x 248 tokens" in sizes
    assert said.startswith(summary(report) + f"\nEverything is in {out}")


@slow
def test_eight_bits_are_smaller_and_their_cosine_is_measured(tmp_path):
    wide = replace(
        tiny(),
        vision=replace(tiny().vision, width=128, mlp_width=512),
        text=replace(tiny().text, width=64, mlp_width=256, layers=1),
    )
    encoder = encoder_of(wide)
    said, report = exports(encoder, tmp_path / "out", "--int8", names="visual,caption_tokens")
    assert report["precision"] == "int8"
    for entry in report["graphs"].values():
        for cosine in entry["int8_cosine"].values():
            assert 0.98 < cosine["least"] <= cosine["mean"] < 1  # 1 would be float32
    assert "8 bits: cosine 0.99" in said
    assert not (tmp_path / "out/float").exists()
    visual = onnx.load(tmp_path / "out/visual/model.onnx")
    assert {node.op_type for node in visual.graph.node} >= {"MatMulInteger", "DynamicQuantizeLinear"}
    floats = 4 * sum(parameter.numel() for name, parameter in encoder.model.named_parameters() if "vision." in name)
    assert (tmp_path / "out/visual/model.onnx").stat().st_size < 0.45 * floats
    given = session(tmp_path / "out/caption_tokens.onnx")  # its weights lie in weights.bin
    assert [each.name for each in given.get_outputs()] == ["tokens", "token_mask"]


WRITE = """
import sys
from pathlib import Path
from foveal.encoder.load import load
from foveal.export import onnx
from foveal.export.graphs import graphs
folder, out, inline, *names = sys.argv[1:]
onnx.INLINE, encoder = int(inline), load(folder, device="cpu")
for graph in graphs(encoder.model, native=encoder.protocol.resize == "naflex"):
    if graph.name in names:
        onnx.write(graph, Path(out) / f"{graph.name}.onnx")
"""


@slow
def test_pictures_of_any_aspect_are_graphs_too(tmp_path):
    config = fg_clip2(siglip2_b_16())
    tower = {"width": 16, "layers": 1, "heads": 2, "mlp_width": 32}
    vision, text = replace(config.vision, **tower, image_size=64), replace(config.text, **tower, vocabulary=49408)
    small = replace(config, vision=vision, text=replace(text, eos_id=49407, pooling="first_eos"), embed_width=16)
    encoder = encoder_of(small, resize="naflex", family="foveal")
    encoder.save(tmp_path / "model")
    python(WRITE, tmp_path / "model", tmp_path, 1 << 30, "image", "phrase")
    for graph in graphs(encoder.model, native=True):
        if graph.name in ("image", "phrase"):
            assert max(check(graph, tmp_path / f"{graph.name}.onnx").values()) < 1e-5


@slow
@pytest.mark.parametrize(("inline", "files"), [(1 << 30, {"visual.onnx"}), (999, {"visual.onnx", "visual.onnx.data"})])
def test_a_graph_that_differs_from_torch_is_refused(tmp_path, inline, files):
    encoder, file = encoder_of(tiny()), tmp_path / "out" / "visual.onnx"
    encoder.save(tmp_path / "model")
    file.parent.mkdir()
    python(WRITE, tmp_path / "model", file.parent, inline, "visual")
    assert {path.name for path in file.parent.iterdir()} == files
    graph = next(graphs(encoder.model, native=False))
    assert set(check(graph, file)) == {f"embedding, {count}" for count in (1, 2, 5, 3)}
    wrong = replace(graph, reference=lambda image: (graph.reference(image)[0] + 2e-4,))
    with pytest.raises(ValueError, match=r"visual.onnx: embedding differs by 2.0e-04 from torch for 1\. Do not use it"):
        check(wrong, file)
    narrow = replace(graph, reference=lambda image: (graph.reference(image)[0][:, :3],))
    with pytest.raises(ValueError, match=r"embedding has shape \(1, 16\), torch gives \(1, 3\)"):
        check(narrow, file)


def test_a_tensor_that_was_written_is_not_written_again(tmp_path):
    shared = SharedWeights(tmp_path / "weights.bin")
    first, other = shared.place(b"a" * 100), shared.place(b"b" * 50)
    assert shared.place(b"a" * 100) == first == 0
    assert other == 128  # the next multiple of 64
    content = (tmp_path / "weights.bin").read_bytes()
    assert (content[:100], content[128:]) == (b"a" * 100, b"b" * 50)


def test_a_missing_package_is_named_with_the_way_to_get_it():
    with pytest.raises(
        ValueError, match=r"need the package onnx-of-nowhere\. Install it: pip install 'foveal\[export\]'"
    ):
        need("onnx_of_nowhere.part")


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(ValueError, match=r"is in use\. Choose another name"):
        export(encoder_of(tiny()), tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_crash_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("foveal.export.export.write", broken)
    with pytest.raises(OSError, match="No space left"):
        export(encoder_of(tiny()), tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []
