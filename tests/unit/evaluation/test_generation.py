"""Drawn pictures against captions and real pictures, and who may judge them."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from foveal.cli.main import main
from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.evaluation.generation import Judge, measure_pictures
from foveal.evaluation.picture_features import picture_features
from foveal.evaluation.quality import clip_score, frechet
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import long_text, tiny


def encoder_of(config=None):
    config = config or long_text(tiny())
    protocol = Protocol(family="clip", resize="squash", cleaning="nfc")
    torch.manual_seed(1)
    model = DualEncoder(config).eval()
    return Encoder(model, Tokenizer.clip("nfc"), protocol.transform(config.vision), protocol=protocol, progress=False)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Six real pictures with captions, and four drawn of them: the same ones."""
    root = tmp_path_factory.mktemp("generation")
    (root / "real").mkdir()
    (root / "drawn").mkdir()
    rows = []
    for number, sample in enumerate(Scenes(count=6, size=32)):
        (root / "real" / f"{number}.png").write_bytes(sample.image)
        if number < 4:
            (root / "drawn" / f"{number}.png").write_bytes(sample.image)
        rows.append({"image": f"real/{number}.png", "captions": [sample.long_caption]})
    (root / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (root / "drawn" / "imagine.json").write_text(json.dumps({"text_encoder": str(root / "model")}))
    encoder_of().save(root / "model")
    encoder_of(tiny()).save(root / "other")
    return root


def measured(places, judges=(), features=()):
    name = str(places / "captions.jsonl")
    return measure_pictures(places / "drawn", [name], [places], judges, features).results[name]


def test_the_clip_score_is_the_mean_over_captions_of_what_was_drawn(places):
    encoder = encoder_of(tiny())
    results = measured(places, [Judge("other", encoder)])
    rows = [json.loads(line) for line in (places / "captions.jsonl").read_text().splitlines()][:4]
    images = encoder.encode_images([places / "drawn" / f"{number}.png" for number in range(4)])
    texts = encoder.encode_texts([row["captions"][0] for row in rows])
    expected = clip_score(images, texts).mean().item()
    metrics = results["clip_score:other"].metrics
    assert metrics["clip_score"].value == pytest.approx(expected, rel=1e-5)
    assert metrics["clip_score_w2.5"].value == pytest.approx(expected / 40, rel=1e-5)
    assert (results["clip_score:other"].found, results["clip_score:other"].total) == (4, 6)
    assert "image_to_text@1" in results["retrieval:other"].metrics


def test_a_long_reader_scores_long_texts_too_and_says_how_many_are_cut(places):
    results = measured(places, [Judge("long", encoder_of())])
    assert set(results) == {"clip_score:long", "retrieval:long"}  # one table of positions: long captions are captions
    text = tiny().text
    separate = replace(tiny(), text=replace(text, context=20, long_context=248))
    results = measured(places, [Judge("two", encoder_of(separate))])
    assert set(results) == {"clip_score:two", "clip_score_long_caption:two", "retrieval:two"}
    cut = [task.notes[-1] for name, task in results.items() if name.startswith("clip_score")]
    assert cut[0].startswith("4 captions are longer than 20") and cut[1].startswith("0 captions are longer than 248")


def test_a_model_that_judges_its_own_pictures_is_warned_of(places, caplog):
    model = str(places / "model")
    results = measured(places, [Judge(model, encoder_of())])
    assert "drawn with its own text encoder" in results["clip_score:model"].notes[-1]
    assert "take another judge" in caplog.text
    caplog.clear()
    measured(places, [Judge(str(places / "other"), encoder_of())])
    assert not caplog.text


def test_distances_are_those_of_unnormalized_embeddings_of_all_real_pictures(places):
    encoder = encoder_of(tiny())
    features = picture_features("foveal:some/other", lambda name: encoder)
    results = measured(places, features=[features])["distance:foveal-other"]
    left, right = (
        features.compute([places / folder / f"{number}.png" for number in range(count)])
        for folder, count in (("drawn", 4), ("real", 6))
    )
    torch.testing.assert_close(
        torch.nn.functional.normalize(left, dim=1),
        encoder.encode_images([places / "drawn" / f"{number}.png" for number in range(4)]),
    )
    assert results.metrics["frechet@foveal-other-4"].value == pytest.approx(frechet(left, right))
    assert "4 drawn pictures against 6 real ones" in results.notes[0] and "too large" in results.notes[1]


def test_a_dinov2_gives_features(places, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28)
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dino")
    features = picture_features(f"dinov2:{tmp_path / 'dino'}", lambda name: encoder_of())
    assert features.name == "dinov2-dino" and features.compute([places / "real" / "0.png"] * 2).shape == (2, 8)


def test_an_onnx_network_gives_features(places, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make = onnx.helper
    shapes = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "y")]
    node = make.make_node("GlobalAveragePool", ["x"], ["y"])
    shapes[0] = make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 299, 299])
    graph = make.make_graph([node], "mean", shapes[:1], shapes[1:])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "mean.onnx")
    Image.new("RGB", (50, 20), (255, 0, 51)).save(tmp_path / "a.png")
    features = picture_features(f"onnx:{tmp_path / 'mean.onnx'}", lambda name: encoder_of())
    torch.testing.assert_close(
        features.compute([tmp_path / "a.png"]), torch.tensor([[1.0, 0.0, 0.2]]), rtol=0, atol=1e-4
    )


def test_what_is_unknown_or_not_there_is_refused(places, tmp_path):
    with pytest.raises(ValueError, match=r"no features 'inception'\. Give foveal:MODEL"):
        picture_features("inception", lambda name: encoder_of())
    with pytest.raises(ValueError, match="Nothing judges"):
        measured(places)
    with pytest.raises(ValueError, match=r"holds none of 6 pictures, for example 0\.png"):
        measure_pictures(tmp_path, [str(places / "captions.jsonl")], [], [Judge("a", encoder_of())])


def test_the_command_measures_a_folder_of_pictures(places, tmp_path, capsys):
    words = [f"images@{places / 'drawn'}", str(places / "captions.jsonl"), "--out", str(tmp_path / "out")]
    judge = ["--judge", str(places / "other"), "--features", f"foveal:{places / 'other'}"]
    assert main(["eval", *words, *judge]) == 0
    shown = capsys.readouterr().out
    assert "frechet@foveal-other-4" in shown and "clip_score_w2.5" in shown
    assert (tmp_path / "out" / "report.json").is_file()
    assert main(["eval", str(places / "other"), str(places / "captions.jsonl"), *judge]) == 2
    assert "--judge and --features are for pictures" in capsys.readouterr().err
