"""From files and strings to embeddings: ours against `transformers` with the same random weights, each as it comes.

Pictures: a folder of JPEGs through CLIP B/16. The peer is CLIPModel with its processor, sixteen at a time. Texts: long
descriptions at 248 tokens against CLIPTextModelWithProjection with 248 positions, padded, as Long-CLIP's users run it.
Start: `import foveal` and `foveal --help` load no torch.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModelWithProjection, CLIPTokenizer, logging

from foveal.data.scenes import Scenes
from foveal.data.tokenizer import Tokenizer
from foveal.encoder import Encoder, Protocol
from foveal.encoder.convert import convert
from foveal.models.dual_encoder import DualEncoder
from foveal.models.sizes import long_text, vit_b_16

SHARED = Path(__file__).parents[2] / "shared" / "data"
BATCH = 16


def times(candidates: dict[str, Callable[[], Tensor]], rounds: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Median seconds and results of each, run in turn so that a noisy neighbor disturbs all alike."""
    results = {name: candidate() for name, candidate in candidates.items()}  # warm: files cached, kernels chosen
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            start = perf_counter()
            candidate()
            seconds[name].append(perf_counter() - start)
    return {name: median(each) for name, each in seconds.items()}, results


def encoder_of(long: bool) -> Encoder:
    torch.manual_seed(0)
    config = long_text(vit_b_16()) if long else vit_b_16()
    protocol = Protocol(family="long_clip" if long else "clip", resize="crop")
    return Encoder(DualEncoder(config).eval(), Tokenizer.clip(), protocol.transform(config.vision), protocol=protocol)


def photos(folder: Path, count: int) -> tuple[list[Path], str]:
    """A folder of so many JPEGs, and what they are."""
    found = sorted((SHARED / "coco" / "images").glob("*.jpg"))
    if found:
        files = [folder / f"{number:04}.jpg" for number in range(count)]
        for number, file in enumerate(files):
            file.symlink_to(found[number % len(found)])
        return files, "photos of COCO"
    files = []
    for number, scene in enumerate(Scenes(count=count, size=480)):
        assert isinstance(scene.image, bytes)
        files.append(folder / f"{number:04}.jpg")
        files[-1].write_bytes(scene.image)
    return files, f"scenes of 480 pixels, as there are no photos in {SHARED / 'coco'}"


def image_rows(count: int, rounds: int, folder: Path) -> Iterator[str]:
    files, what = photos(folder, count)
    encoder = encoder_of(long=False)
    encoder.batch_size = BATCH
    coarse = Encoder(
        encoder.model,
        encoder.tokenizer,
        encoder.transform,
        protocol=encoder.protocol,
        batch_size=BATCH,
        dtype=torch.bfloat16,
    )
    convert(encoder, folder / "peer", "hf-clip")
    peer, processor = CLIPModel.from_pretrained(folder / "peer"), CLIPImageProcessor.from_pretrained(folder / "peer")
    peer.train(False)

    def theirs() -> Tensor:
        parts = []
        for start in range(0, count, BATCH):
            pictures: list[Image.Image] = [Image.open(file) for file in files[start : start + BATCH]]
            with torch.no_grad():
                found = peer.get_image_features(**processor(images=pictures, return_tensors="pt"))
            parts.append(found if isinstance(found, Tensor) else found.pooler_output)
        return F.normalize(torch.cat(parts), dim=-1)

    seconds, found = times(
        {
            "transformers": theirs,
            "fp32": lambda: encoder.encode_images(files),
            "bf16": lambda: coarse.encode_images(files),
        },
        rounds,
    )
    base = seconds["transformers"]
    for name, goal in (("fp32", "1.2x, 1e-5"), ("bf16", "2x, cosine within 1e-3")):
        apart = (found[name] - found["transformers"]).abs().max().item()
        cosine = F.cosine_similarity(found[name], found["transformers"]).min().item()
        yield (
            f"{count} JPEGs ({what}), B/16, batch {BATCH}, {name}: {seconds[name]:.1f} s, transformers {base:.1f} s,"
            f" {base / seconds[name]:.2f}x (asked {goal}); apart {apart:.1e}, least cosine {cosine:.5f}"
        )


def descriptions(count: int) -> tuple[list[str], str]:
    path = SHARED / "captions" / "docci_test_captions.json"
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["annotations"] if isinstance(content, dict) else content
        return [row["caption"] for row in rows[:: max(1, len(rows) // count)][:count]], "DOCCI descriptions"
    return [scene.long_caption for scene in Scenes(count=count)], f"scenes' texts, as there is no {path}"


def text_rows(count: int, rounds: int, folder: Path) -> Iterator[str]:
    texts, what = descriptions(count)
    encoder = encoder_of(long=True)
    convert(encoder, folder / "long", "hf-clip")
    peer = CLIPTextModelWithProjection.from_pretrained(folder / "long")
    peer.train(False)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "long")

    def theirs() -> Tensor:
        parts = []
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            inputs = tokenizer(some, padding="max_length", truncation=True, max_length=248, return_tensors="pt")
            with torch.no_grad():
                parts.append(peer(**inputs).text_embeds)
        return F.normalize(torch.cat(parts), dim=-1)

    seconds, found = times({"transformers": theirs, "ours": lambda: encoder.encode_texts(texts)}, rounds)
    tokens = sum(min(248, length) for length in encoder.tokenizer.count(texts)) / len(texts)
    # Its tokenizer mends no broken encodings and no HTML entities, so a text of a thousand may differ.
    apart = (found["ours"] - found["transformers"]).abs().amax(dim=1).median().item()
    ratio = seconds["transformers"] / seconds["ours"]
    yield (
        f"{len(texts)} {what} (mean {tokens:.0f} tokens) at 248, text tower B/16: {seconds['ours']:.1f} s,"
        f" transformers {seconds['transformers']:.1f} s, {ratio:.2f}x (asked 1.6x); apart {apart:.1e} (median)"
    )


def start_rows(rounds: int) -> Iterator[str]:
    commands = {
        "import foveal": "import foveal",
        "foveal --help": "from foveal.cli.main import main; main(['--help'])",
        "python alone": "pass",
    }
    for name, code in commands.items():
        seconds = []
        for _ in range(rounds + 2):
            start = perf_counter()
            check = f"{code}\nimport sys; sys.exit('torch' in sys.modules)"
            done = subprocess.run([sys.executable, "-c", check], stdout=subprocess.DEVNULL, check=False)
            seconds.append(perf_counter() - start)
        loaded = "torch loaded" if done.returncode else "no torch loaded"
        yield f"{name}: {median(seconds):.2f} s, {loaded} (asked: none)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200, help="JPEGs in the folder; the claim is about 200")
    parser.add_argument("--count", type=int, default=100, help="descriptions; the claim is about 1000")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with TemporaryDirectory() as folder:
        for rows in (
            start_rows(options.rounds),
            image_rows(options.images, options.rounds, Path(folder)),
            text_rows(options.count, options.rounds, Path(folder)),
        ):
            for row in rows:
                print(row, flush=True)


if __name__ == "__main__":
    main()
