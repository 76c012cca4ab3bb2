"""What a new process pays: a search, a run of `foveal index` that finds nothing new, and one added picture.

    python benchmarks/search_cold.py PHOTOS [--beside OTHER/src] [--rounds 3]

Every command is a process of its own; its processor seconds and its peak memory are the system's. With the source of
another version beside, the two take turns, round by round. Bytes are those that the process asked the system to read
(`rchar` of /proc/self/io) while one made-up picture was added to an index of `--count` others.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parents[1] / "src"
FOVEAL = "import sys; from foveal.cli.main import main; sys.exit(main(sys.argv[1:]))"
TEXT = "a brown bear in shallow water"
GROW = """
import sys
from pathlib import Path
import numpy as np
from foveal.search.store import ImageFeatures, Layout, Store, row_batch

folder, count = Path(sys.argv[1]), int(sys.argv[2])
generator = np.random.default_rng(0)
none = np.zeros((0, 512), np.float16), np.zeros((0, 4), np.float32)

def rows(first, number):
    ids = range(first, first + number)
    metadata = {"id": [f"{n:024x}" for n in ids], "path": [f"{n}.jpg" for n in ids], "caption": [""] * number}
    metadata |= {name: [0] * number for name in ("bytes", "modified", "width", "height")}
    metadata |= {"hash": [""] * number, "thumbnail": [b""] * number}
    embeddings = generator.standard_normal((number, 512)).astype(np.float16)
    tokens = generator.integers(-127, 128, (number, 16 * 128), dtype=np.int8)
    features = [ImageFeatures(*pair, *none) for pair in zip(embeddings, tokens, strict=True)]
    return row_batch(Layout(512, 128, 16, regions=0), metadata, features)

def read():
    return int(Path("/proc/self/io").read_text().split()[1])

if not Store.is_there(folder):
    store = Store.create(folder, Layout(512, 128, 16, regions=0), {})
    for first in range(0, count, 5000):
        store.write(rows(first, min(5000, count - first)))
    store.finish()
store = Store.open(folder)
present = store.count()
before = read()
store.file_states()
store.write(rows(present, 1))
store.finish()
print(read() - before)
"""


def cost(source: Path, *arguments: str) -> tuple[float, float, float]:
    """Processor seconds, seconds and peak MiB of a process."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        assert process.stderr is not None
        raise SystemExit(f"{' '.join(arguments[2:])}: {process.stderr.read().decode()}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024


def spread(values: list[float], digits: int) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def commands(photos: Path, folder: Path, sources: list[Path], rounds: int) -> Iterator[str]:
    """Rows of a table: what each command costs with each source."""
    for number, source in enumerate(sources):
        cost(source, "-c", FOVEAL, "index", str(photos), "--out", str(folder / f"index{number}"))
    verbs = {"index, nothing new": ["index", str(photos), "--out"], "search": ["search"]}
    costs: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for name, verb in verbs.items():
            for number, source in enumerate(sources):
                index = str(folder / f"index{number}")
                arguments = [*verb, index] if verb[0] == "index" else [*verb, index, TEXT]
                costs.setdefault((name, number), []).append(cost(source, "-c", FOVEAL, *arguments))
    for (name, number), measured in costs.items():
        cpu, _, memory = (list(column) for column in zip(*measured, strict=True))
        yield f"| {name} | {'this' if number == 0 else sources[number]} | {spread(cpu, 2)} | {spread(memory, 0)} |"


def by_server(folder: Path, rounds: int) -> str:
    """A row: a search that a running service answers, in seconds of processor and of waiting."""
    index = str(folder / "index0")
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", FOVEAL, "serve", index, "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None and re.search(r"http://", service.stdout.readline())
        time.sleep(1)
        cost(HERE, "-c", FOVEAL, "search", index, TEXT)
        measured = [cost(HERE, "-c", FOVEAL, "search", index, TEXT) for _ in range(rounds)]
        service.terminate()
    cpu, waited, memory = (list(column) for column in zip(*measured, strict=True))
    return (
        f"| search, asking foveal serve; {spread(waited, 2)} s waited | this | {spread(cpu, 2)} | {spread(memory, 0)} |"
    )


def growth(folder: Path, sources: list[Path], count: int) -> Iterator[str]:
    """Rows: what is read to add one picture."""
    for number, source in enumerate(sources):
        command = [sys.executable, "-c", GROW, str(folder / f"grown{number}"), str(count)]
        answer = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True)
        read = int(answer.stdout.split()[-1]) / 2**20 if answer.returncode == 0 else float("nan")
        yield f"| one picture added to {count:,} | {'this' if number == 0 else source} | {read:.1f} MiB read | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of pictures")
    parser.add_argument("--beside", type=Path, action="append", default=[], help="`src` of another version")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=20_000, help="made-up pictures that one is added to")
    options = parser.parse_args()
    sources = [HERE, *options.beside]
    print("| what | version | processor seconds | peak MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for line in commands(options.photos, folder, sources, options.rounds):
            print(line, flush=True)
        print(by_server(folder, options.rounds), flush=True)
        for line in growth(folder, sources, options.count):
            print(line, flush=True)


if __name__ == "__main__":
    main()
