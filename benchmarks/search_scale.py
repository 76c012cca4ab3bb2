"""Search in an index of made-up embeddings on disk: seconds, recall and bytes, beside two ways to do without our own.

    python benchmarks/search_scale.py --count 1000000 --folder /big/disk/scale

Called again with the same folder, it takes the index, the answers of the exhaustive search and LanceDB's index from
there, and measures again in a few minutes.

Pictures have a 512-d embedding (float16) and 16 tokens of 128 numbers (int8), in the store that `foveal index` writes.
Three searches answer the same queries in the same run:

- ours: a first pass over the cells that tokens lie in, then late interaction with a shortlist of 200; here from the
  text to the picture alone, as LanceDB has it (`foveal search --mode late` compares the same shortlist both ways);
- exhaustive: late interaction with every picture, all tokens kept in memory as int8; its ten best are what recall is
  measured against;
- LanceDB's own multivector search: an IVF-PQ index over the tokens themselves (float16, 16 per picture).

What the embeddings are made of, so that a search in them is as hard as in real ones. Things in the world: 20,000
concepts, unit vectors that lie in 500 families (cosine about 0.5 within one), drawn as words are (Zipf). A picture
shows 1 to 6 of them in unequal shares; its 16 tokens are its concepts' vectors, drawn a little to their common mean, as
attention does, and blurred by noise of their own (cosine to the concept about 0.7); one in five shows background that
pictures of its scene share. The embedding is the mean of the tokens, rotated into 512 dimensions by a fixed matrix
and blurred (cosine 0.85). A query describes one of the pictures: 12 tokens of what it shows, drawn to their mean and
blurred as texts are, and their mean, rotated and blurred. The strengths are set so that the script's first line comes
near to what the starter model gives on 135 photos of COCO (in brackets there), on the harder side.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from foveal.search.first_pass import FirstPass
from foveal.search.scoring import EncodedQuery
from foveal.search.store import ImageFeatures, Layout, Store, row_batch
from foveal.similarity import late_interaction

WIDTH, TOKEN_WIDTH, TOKENS, WORDS = 512, 128, 16, 12
CONCEPTS, FAMILIES, SCENES = 20_000, 500, 300
SHORTLIST, BEST, BATCH = 200, 10, 8192
ASKED_SECONDS, ASKED_RECALL = 0.050, 0.95
ACCURACIES = (0.5, 2.0, 5.0)
THEIRS = ((20, 10), (20, 50), (100, 50))  # LanceDB's partitions looked into, and how many times the wanted are refined


def blurred(rows: Tensor, cosine: float, generator: torch.Generator) -> Tensor:
    """Unit-length rows, turned in random directions until their cosine to what they were is about this."""
    noise = F.normalize(torch.randn(rows.shape, generator=generator), dim=-1)
    return F.normalize(cosine * F.normalize(rows, dim=-1) + (1 - cosine**2) ** 0.5 * noise, dim=-1)


@dataclass(frozen=True)
class World:
    """What pictures show: the same for every batch."""

    concepts: Tensor
    scenes: Tensor
    frequent: Tensor
    rotation: Tensor

    @classmethod
    def make(cls) -> "World":
        """The same world every time."""
        generator = torch.Generator().manual_seed(0)
        families = F.normalize(torch.randn(FAMILIES, TOKEN_WIDTH, generator=generator), dim=-1)
        of = torch.randint(FAMILIES, (CONCEPTS,), generator=generator)
        rotation = torch.linalg.qr(torch.randn(WIDTH, TOKEN_WIDTH, generator=generator)).Q.T
        scenes = F.normalize(torch.randn(SCENES, TOKEN_WIDTH, generator=generator), dim=-1)
        frequent = (1 / torch.arange(10, CONCEPTS + 10)).cumsum(0)  # how many are drawn from the first so many
        frequent = frequent / frequent[-1]
        return cls(blurred(families[of], 0.7, generator), scenes, frequent, rotation)

    def pictures(self, number: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings, tokens, and what each token shows, without blur."""
        generator = torch.Generator().manual_seed(seed)
        shown = torch.searchsorted(self.frequent, torch.rand(number, 6, generator=generator)).clamp(max=CONCEPTS - 1)
        shares = torch.rand(number, 6, generator=generator) ** 2
        shares[torch.arange(6) >= torch.randint(1, 7, (number, 1), generator=generator)] = 0
        shares[:, 0] += 0.2
        which = torch.multinomial(shares, TOKENS, replacement=True, generator=generator)
        clear = self.concepts[shown.gather(1, which)]
        behind = torch.rand(number, TOKENS, generator=generator) < 0.2
        scene = torch.randint(SCENES, (number, 1), generator=generator).expand(-1, TOKENS)
        clear = torch.where(behind[..., None], self.scenes[scene], clear)
        tokens = blurred(drawn_together(clear, 0.15), 0.72, generator)
        return blurred(tokens.mean(dim=1) @ self.rotation, 0.85, generator), tokens, clear

    def queries(self, count: int, of: int) -> tuple[Tensor, Tensor]:
        """Embeddings and tokens of texts about some of the first pictures."""
        clear = self.pictures(BATCH, seed=1)[2][:of]
        generator = torch.Generator().manual_seed(10**6)
        which = torch.randint(TOKENS, (count, WORDS), generator=generator)
        picture = torch.randperm(len(clear), generator=generator)[:count]
        tokens = blurred(drawn_together(clear[picture[:, None], which], 0.45), 0.75, generator)
        return blurred(tokens.mean(dim=1) @ self.rotation, 0.98, generator), tokens


def drawn_together(rows: Tensor, share: float) -> Tensor:
    """Each token of a set, moved towards the set's mean."""
    return (1 - share) * rows + share * F.normalize(rows.mean(dim=1, keepdim=True), dim=-1)


def likeness(world: World) -> str:
    """How alike tokens and embeddings are, beside what the starter model gives on real photos."""
    embeddings, tokens, _ = world.pictures(BATCH, seed=1)
    query, words = world.queries(40, BATCH)
    late = torch.cat([late_interaction(words, some) for some in tokens.split(2048)], dim=1)
    both = zip(late, query @ embeddings.T, strict=True)
    agree = statistics.mean(torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in both)
    within = (tokens[:200] @ tokens[:200].mT).mean().item()
    across = (tokens[:200].flatten(0, 1) @ tokens[200:400].flatten(0, 1).T).mean().item()
    return (
        f"mean cosine of a picture's tokens {within:.2f} (0.27), of two pictures' {across:.2f} (0.05), of a text's"
        f" {(words @ words.mT).mean().item():.2f} (0.48); correlation of late and global similarity {agree:.2f} (0.85)"
    )


def build(world: World, folder: Path, count: int) -> dict[str, float]:
    """Write the index batch by batch, as `foveal index` does. Gives seconds and bytes."""
    import lancedb

    shutil.rmtree(folder, ignore_errors=True)  # of a run that was cut off
    start = time.perf_counter()
    store = Store.create(folder, Layout(WIDTH, TOKEN_WIDTH, TOKENS, regions=0), {})
    nothing = np.zeros((0, WIDTH), np.float16), np.zeros((0, 4), np.float32)
    for first in tqdm(range(0, count, BATCH), desc="writing", unit=" batches", disable=not sys.stderr.isatty()):
        some = min(BATCH, count - first)
        embeddings, tokens, _ = world.pictures(BATCH, seed=1 + first // BATCH)
        eight_bits = (tokens / tokens.abs().amax(-1, keepdim=True) * 127).round().to(torch.int8).numpy()
        features = [ImageFeatures(e, t, *nothing) for e, t in zip(embeddings.half().numpy(), eight_bits, strict=True)][
            :some
        ]
        metadata: dict[str, list[Any]] = {
            "id": [f"{first + n:024x}" for n in range(some)],
            "path": [f"{first + n}.jpg" for n in range(some)],
            **{name: [0] * some for name in ("bytes", "modified", "width", "height")},
            **{name: [""] * some for name in ("hash", "caption")},
            "thumbnail": [b""] * some,
        }
        store.write(row_batch(store.layout, metadata, features), replace=())
    written = time.perf_counter() - start
    store.finish()
    pictures = lancedb.connect(str(folder)).open_table("pictures")
    pictures.optimize(cleanup_older_than=timedelta(0))  # what compaction replaced, which users keep for an hour
    return {"written": written, "indexed": time.perf_counter() - start - written, "bytes": size(folder)}


def ours(first_pass: FirstPass, embedding: Tensor, tokens: Tensor) -> list[str]:
    """First pass, then late interaction with the shortlist."""
    [found] = first_pass([[EncodedQuery(embedding, tokens, embedding[None], ("",))]], "late", "", SHORTLIST)
    late = late_interaction(tokens[None], found.features.tokens)[0]
    return [found.ids[at] for at in late.topk(min(BEST, len(found))).indices.tolist()]


def in_memory(store: Store) -> tuple[list[str], Tensor]:
    """All ids and all tokens."""
    rows = store.pictures.read(["id", "tokens"])
    flat = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in rows["tokens"].chunks])
    return rows["id"].to_pylist(), torch.from_numpy(flat).view(-1, TOKENS, TOKEN_WIDTH)


def exhaustive(ids: list[str], everything: Tensor, tokens: Tensor) -> list[list[str]]:
    """Late interaction of queries with all pictures: the best of each."""
    bar = tqdm(everything.split(BATCH), desc="exhaustive", unit=" batches", disable=not sys.stderr.isatty())
    late = [late_interaction(tokens, F.normalize(some.float(), dim=-1)) for some in bar]
    return [[ids[at] for at in best] for best in torch.cat(late, dim=1).topk(BEST).indices.tolist()]


def build_multivector(store: Store, folder: Path) -> dict[str, float]:
    """The same tokens as a multivector column with LanceDB's index. Gives seconds and bytes."""
    import lancedb
    import pyarrow as pa
    from lancedb.index import IvfPq

    start = time.perf_counter()
    schema = pa.schema({"id": pa.string(), "tokens": pa.list_(pa.list_(pa.float16(), TOKEN_WIDTH))})
    table = lancedb.connect(str(folder)).create_table("tokens", schema=schema, mode="overwrite")
    for rows in store.pictures.batches(["id", "tokens"], BATCH):
        flat = rows["tokens"].flatten().to_numpy(zero_copy_only=False).reshape(-1, TOKEN_WIDTH).astype(np.float32)
        unit = (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float16)
        each = pa.FixedSizeListArray.from_arrays(pa.array(unit.reshape(-1)), TOKEN_WIDTH)
        ends = pa.array(np.arange(0, len(unit) + 1, TOKENS, dtype=np.int32))
        table.add(pa.table({"id": rows["id"], "tokens": pa.ListArray.from_arrays(ends, each)}, schema=schema))
    table.optimize(cleanup_older_than=timedelta(0))
    # its own choice, 122 for a million pictures, does not count their tokens: a search took 0.86 s
    partitions = round((TOKENS * store.pictures.count()) ** 0.5 / 4)
    table.create_index("tokens", config=IvfPq("cosine", num_partitions=partitions, num_sub_vectors=16))
    return {"built": time.perf_counter() - start, "bytes": size(folder)}


def theirs(table: Any, tokens: Tensor, probes: int, refined: int) -> list[str]:
    """LanceDB's multivector search."""
    search = table.search(tokens.numpy(), vector_column_name="tokens").select(["id", "_distance"])
    return list(search.limit(BEST).nprobes(probes).refine_factor(refined).to_arrow()["id"].to_pylist())


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """What a file says was made before; else it is made now, and the file says so."""
    if not file.exists():
        made = make()
        file.write_text(json.dumps(made))
    return json.loads(file.read_text())


def measure(search: Callable[[int], list[str]], truth: list[list[str]], runs: range) -> tuple[float, float, float]:
    """Median and 95th percentile of seconds, and recall; a few queries come before that do not count."""
    for n in list(runs)[:3]:
        search(n)
    seconds, right = [], 0
    for n in runs:
        start = time.perf_counter()
        found = search(n)
        seconds.append(time.perf_counter() - start)
        right += len(set(found) & set(truth[n]))
    return statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1], right / (BEST * len(runs))


def size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="pictures")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where everything is kept; a temporary one if not given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-multivector", action="store_true", help="its tokens take 4 KiB a picture more")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        for line in report(options.folder or Path(temporary), options):
            print(line, flush=True)


def report(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """The whole run, line by line."""
    import lancedb

    folder.mkdir(parents=True, exist_ok=True)
    world, count, runs = World.make(), options.count, range(options.queries)
    if kept(folder / "count.json", lambda: count) != count:
        raise SystemExit(f"'{folder}' holds another number of pictures than {count}. Name another folder.")
    yield likeness(world)
    took = kept(folder / "index.json", lambda: build(world, folder / "index", count))
    yield (
        f"{count} pictures: written in {took['written']:.0f} s ({count / took['written']:.0f} a second, with the time"
        f" to make them), joined, indexed in {took['indexed']:.0f} s; {took['bytes'] / count:.0f} bytes each"
    )
    store = Store.open(folder / "index")
    embeddings, tokens = world.queries(options.queries, min(BATCH, count))
    ids, everything = in_memory(store)
    truth = kept(folder / f"best-{len(runs)}.json", lambda: exhaustive(ids, everything, tokens))
    slow, _, _ = measure(lambda n: exhaustive(ids, everything, tokens[n : n + 1])[0], truth, runs[:5])
    del ids, everything
    start = time.perf_counter()
    first_pass = FirstPass(store)
    yield f"opened in {time.perf_counter() - start:.1f} s"
    goal = f"asked: p50 <= {1000 * ASKED_SECONDS:.0f} ms, recall >= {ASKED_RECALL}"
    yield f"\n| search, {options.threads} threads | p50 ms | p95 ms | recall@{BEST} | {goal} |\n|---|---|---|---|---|"
    fast, tail, recall = measure(lambda n: ours(first_pass, embeddings[n], tokens[n]), truth, runs)
    met = "met" if fast <= ASKED_SECONDS and recall >= ASKED_RECALL else "MISSED"
    yield f"| ours: first pass, rerank of {SHORTLIST} | {1000 * fast:.1f} | {1000 * tail:.1f} | {recall:.3f} | {met} |"
    for accuracy in ACCURACIES:
        first_pass = FirstPass(store, accuracy)
        fast, tail, recall = measure(lambda n, by=first_pass: ours(by, embeddings[n], tokens[n]), truth, runs)  # type: ignore[misc]
        yield f"| the same, --accuracy {accuracy} | {1000 * fast:.1f} | {1000 * tail:.1f} | {recall:.3f} | |"
    yield f"| exhaustive late interaction | {1000 * slow:.0f} | | 1 | {slow / fast:.0f} times as long |"
    if options.skip_multivector:
        return
    took = kept(folder / "multivector.json", lambda: build_multivector(store, folder / "multivector"))
    table = lancedb.connect(str(folder / "multivector")).open_table("tokens")
    yield f"| LanceDB multivector | | | | built in {took['built']:.0f} s, {took['bytes'] / count:.0f} bytes a picture |"
    for probes, refined in THEIRS:
        their = partial(theirs, table, probes=probes, refined=refined)
        fast, tail, recall = measure(lambda n, their=their: their(tokens[n]), truth, runs)  # type: ignore[misc]
        told = f"{probes} partitions of each token, refined {refined} times"
        yield f"| the same: {told} | {1000 * fast:.1f} | {1000 * tail:.1f} | {recall:.3f} | |"


if __name__ == "__main__":
    main()
