"""The service under load: many clients at once, good and bad requests mixed, with batching and without.

    python benchmarks/serve_load.py                         # 16 clients, 60 s of mixed requests
    python benchmarks/serve_load.py --seconds 5 --model tiny

Asked: no 5xx, no request without an answer, health true at the end, memory flat, and twice the throughput of the same
server without batching. Server and clients share the machine's cores, so both throughputs are low estimates.
"""

import argparse
import base64
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from statistics import quantiles
from threading import Thread

from PIL import Image

from foveal.cli.main import main as foveal

PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "coco" / "images"
COMMAND = Path(sys.executable).with_name("foveal")
WORDS = (
    "brown",
    "white",
    "small",
    "large",
    "dog",
    "cat",
    "bear",
    "bus",
    "train",
    "man",
    "woman",
    "water",
    "grass",
    "red",
)
JSON = {"Content-Type": "application/json"}
MEBIBYTE = 1 << 20
MOST_REQUESTS = 200_000  # of one phase, whatever its seconds


@dataclass(frozen=True)
class Request:
    """One request, and the statuses that are right answers to it."""

    name: str
    method: str
    path: str
    body: bytes = b""
    right: tuple[int, ...] = (200,)
    kind: str = "application/json"


@dataclass
class Tally:
    """What came of a client's requests."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: int = 0
    refused: int = 0

    def add(self, other: "Tally") -> None:
        """Take over what another counted."""
        for name, values in other.seconds.items():
            self.seconds.setdefault(name, []).extend(values)
        self.statuses.update(other.statuses)
        self.wrong += other.wrong
        self.lost += other.lost
        self.refused += other.refused


def text(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.choice((6, 10, 14, 40))))


def picture(rng: random.Random, size: tuple[int, int] = (320, 240)) -> bytes:
    content = BytesIO()
    Image.effect_noise((8, 8), rng.uniform(20, 120)).resize(size).convert("RGB").save(content, "JPEG")
    return content.getvalue()


def bomb() -> bytes:
    """A PNG of few bytes that promises 400 million pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def searching(rng: random.Random, _: list[str]) -> Request:
    return Request("search by text", "POST", "/search", as_json({"text": text(rng)}))


def embedding(rng: random.Random, _: list[str]) -> Request:
    return Request("embed a text", "POST", "/v1/embeddings", as_json({"input": text(rng), "encoding_format": "base64"}))


def mixed(rng: random.Random, ids: list[str]) -> Request:
    """One in four is bad, in every way that is cheap to send; one in 200 is huge."""
    draw = rng.random()
    if draw < 0.005:
        return Request("bad: huge body", "POST", "/search", b" " * (17 * MEBIBYTE), (413,))
    if draw < 0.25:
        return rng.choice(bad(rng, ids))
    if draw < 0.65:
        return searching(rng, ids)
    if draw < 0.8:
        return embedding(rng, ids)
    return rng.choice(good(rng, ids))


def good(rng: random.Random, ids: list[str]) -> list[Request]:
    image = base64.b64encode(picture(rng)).decode()
    dot = base64.b64encode(picture(rng, (1, 1))).decode()
    box = [0.1, 0.2, 0.6, 0.9]
    return [
        Request("search by picture", "POST", "/search", as_json({"image": image, "text": text(rng)})),
        Request("search by box", "POST", "/search", as_json({"image": image, "box": box})),
        Request("search by 1 pixel", "POST", "/search", as_json({"image": dot})),
        Request("similar", "POST", "/similar", as_json({"id": rng.choice(ids)})),
        Request("rank", "POST", "/rank", as_json({"texts": [text(rng)], "pictures": [image, dot]})),
        Request("explain", "POST", "/explain", as_json({"id": rng.choice(ids), "phrases": [text(rng)]})),
        Request("thumbnail", "GET", f"/thumbnails/{rng.choice(ids)}"),
        Request("health", "GET", "/health"),
    ]


def bad(rng: random.Random, _: list[str]) -> list[Request]:
    broken = base64.b64encode(picture(rng)[:200]).decode()
    exploding = base64.b64encode(bomb()).decode()
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nnot a picture\r\n--x--\r\n'
    return [
        Request("bad: broken JSON", "POST", "/search", b'{"text": ', (422,)),
        Request("bad: broken picture", "POST", "/search", as_json({"image": broken}), (400,)),
        Request("bad: bomb", "POST", "/search", as_json({"image": exploding}), (413,)),
        Request("bad: wrong type", "POST", "/search", b"a dog", (415,), "text/plain"),
        Request("bad: no picture", "POST", "/search", form, (400,), "multipart/form-data; boundary=x"),
        Request("bad: empty", "POST", "/search", b"{}", (400,)),
        Request("bad: filter", "POST", "/search", as_json({"text": "a", "where": "no such column ="}), (400,)),
        Request("bad: long text", "POST", "/search", as_json({"text": "a " * 6000}), (413,)),
        Request("bad: deep JSON", "POST", "/rank", b"[" * 50_000, (413,)),
        Request("bad: path", "GET", "/pictures/..%2F..%2Fetc%2Fpasswd", right=(404, 422)),
        Request("bad: unknown id", "GET", "/thumbnails/0000", right=(404,)),
        Request("bad: URL", "POST", "/rank", as_json({"texts": ["a"], "pictures": ["http://127.0.0.1/"]}), (403,)),
    ]


Mix = Callable[[random.Random, list[str]], Request]


def client(address: tuple[str, int], mix: Mix, ids: list[str], seed: int, until: float, tally: Tally) -> None:
    """Ask one request after another. A refusal for lack of room is obeyed and asked again."""
    rng = random.Random(seed)
    connection = HTTPConnection(*address, timeout=90)
    for _ in range(MOST_REQUESTS):
        if time.monotonic() > until:
            break
        request = mix(rng, ids)
        start = time.perf_counter()
        status = ask(connection, request, tally)
        tally.seconds.setdefault(request.name, []).append(time.perf_counter() - start)
        tally.statuses[request.name, status] += 1
        if status not in request.right:
            tally.wrong.append(f"{request.name}: {status}")
    connection.close()


def ask(connection: HTTPConnection, request: Request, tally: Tally) -> int:
    """The status of the answer. 0 if there was none."""
    for _ in range(20):
        try:
            connection.request(request.method, request.path, request.body or None, {"Content-Type": request.kind})
            answer = connection.getresponse()
            answer.read()
        except OSError as error:
            tally.lost += 1
            tally.wrong.append(f"{request.name}: {error!r}")
            connection.close()
            return 0
        if answer.status != 429:
            return answer.status
        tally.refused += 1
        time.sleep(float(answer.headers["Retry-After"]))
    return 429


def slow(address: tuple[str, int], until: float, tally: Tally) -> None:
    """Send a byte a second of a body that would take half an hour, until told off; then again."""
    while time.monotonic() < until:
        with socket.create_connection(address, timeout=1) as connection:
            connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n")
            tally.statuses["bad: slow body", trickle(connection, until)] += 1


def trickle(connection: socket.socket, until: float) -> int:
    """The status of the answer; -1 if time was up before."""
    while time.monotonic() < until:
        try:
            connection.sendall(b"x")
            answer = connection.recv(64)
        except TimeoutError:
            continue
        return int(answer.split()[1]) if answer else 0
    return -1


def refused(address: tuple[str, int], until: float, tally: Tally) -> None:
    """Ask as a page of another origin would, and send a byte a second after the refusal, until cut off; then again."""
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Length: 2000\r\n\r\n"
    while time.monotonic() < until:
        with socket.create_connection(address, timeout=1) as connection:
            connection.sendall(head)
            status = trickle(connection, until)
            ended = cut_off(connection, until, send=True)
        tally.statuses["bad: refused writer" + ("" if ended else ", not yet cut off"), status] += 1


def unread(address: tuple[str, int], ids: list[str], until: float, tally: Tally) -> None:
    """Ask for 200 originals at once and read a byte a second, until cut off; then again."""
    asked = b"".join(
        f"GET /pictures/{ids[n % len(ids)]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for n in range(200)
    )
    while time.monotonic() < until:
        with socket.create_connection(address, timeout=1) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            connection.sendall(asked)
            ended = cut_off(connection, until, send=False)
        tally.statuses["bad: slow reader" + ("" if ended else ", not yet cut off"), 0] += 1


def cut_off(connection: socket.socket, until: float, *, send: bool) -> bool:
    """True once the server has ended a connection on which a client does a little every second."""
    while time.monotonic() < until:
        time.sleep(1)
        try:
            if send:
                connection.sendall(b"x")
            elif not connection.recv(1):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def load(address: tuple[str, int], mix: Mix, ids: list[str], clients: int, seconds: float) -> tuple[Tally, float]:
    """All clients' tallies in one, and the seconds that it took."""
    tallies = [Tally() for _ in range(clients)]
    start = time.monotonic()
    until = start + seconds
    work = [Thread(target=client, args=(address, mix, ids, n, until, tallies[n])) for n in range(clients)]
    extra = Tally()
    if mix is mixed:
        for _ in range(2):
            work.append(Thread(target=slow, args=(address, until, extra)))
            work.append(Thread(target=refused, args=(address, until, extra)))
            work.append(Thread(target=unread, args=(address, ids, until, extra)))
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    took = time.monotonic() - start
    for tally in tallies:
        extra.add(tally)
    return extra, took


@contextmanager
def server(index: str, model: str, batch: int) -> Iterator[tuple[tuple[str, int], int]]:
    """`foveal serve` on a free port. Gives its address and process id."""
    command = [str(COMMAND), "serve", index, "--port", "0", "--max-batch", str(batch)]
    if model:
        command += ["--model", model]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise SystemExit(f"The server did not start: {line or process.wait()}")
        host, port = line.rsplit("//", 1)[1].strip().split(":")
        yield (host, int(port)), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)


def resident(process: int) -> float:
    """MiB of memory that a process holds. 0 where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def get(address: tuple[str, int], method: str, path: str, body: bytes | None = None) -> dict:  # type: ignore[type-arg]
    connection = HTTPConnection(*address, timeout=90)
    connection.request(method, path, body, JSON)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def percentiles(values: list[float]) -> str:
    if not values:
        return " " * 46
    cuts = quantiles(values, n=100) if len(values) > 1 else values * 99
    return " ".join(f"p{at} {1000 * cuts[at - 1]:6.1f} ms " for at in (50, 95, 99))


def throughput(index: str, model: str, clients: int, seconds: float) -> None:
    """With batching against without, same server, same texts."""
    for mix in (searching, embedding):
        rates = {}
        for batch in (32, 1):
            with server(index, model, batch) as (address, _):
                load(address, mix, [], clients, min(3.0, seconds))  # warm
                tally, took = load(address, mix, [], clients, seconds)
            (name, values), *_ = tally.seconds.items()
            rates[batch] = len(values) / took
            print(f"{name:15} batches of {batch:2}: {rates[batch]:7.1f}/s  {percentiles(values)}", flush=True)
            if tally.wrong:
                print(f"  WRONG: {Counter(tally.wrong).most_common(3)}")
        print(f"{name:15} batching: {rates[32] / rates[1]:.2f}x (asked 2x)", flush=True)


def endurance(index: str, model: str, clients: int, seconds: float) -> bool:
    """Good and bad mixed. True if everything is as asked."""
    with server(index, model, 32) as (address, process):
        ids = [hit["id"] for hit in get(address, "POST", "/search", as_json({"text": "a", "k": 50}))["hits"]]
        load(address, mixed, ids, clients, min(10.0, seconds))  # warm: memory is compared from here
        memory = [resident(process)]
        whole = Tally()
        for part in range(3):
            tally, took = load(address, mixed, ids, clients, seconds / 3)
            memory.append(resident(process))
            whole.add(tally)
            print(f"mixed, part {part + 1} of 3: {sum(map(len, tally.seconds.values())) / took:.1f}/s", flush=True)
        health = get(address, "GET", "/health")
        time.sleep(min(5.0, seconds))
        memory.append(resident(process))
    for name in sorted({name for name, _ in whole.statuses}):
        statuses = ", ".join(f"{status}: {n}" for (own, status), n in sorted(whole.statuses.items()) if own == name)
        print(f"  {name:20} {percentiles(whole.seconds.get(name, []))} {statuses}")
    failures = sum(n for (_, status), n in whole.statuses.items() if status >= 500)
    count = sum(map(len, whole.seconds.values()))
    print(f"{count} requests: {failures} answered 5xx (asked 0), {whole.lost} lost (asked 0), {len(whole.wrong)} wrong")
    print(f"  {whole.refused} times told to come back (429), all obeyed")
    if whole.wrong:
        print(f"  WRONG: {Counter(whole.wrong).most_common(5)}")
    print(f"health: {health['status']} (asked ok), last batch {health['last_batch']}")
    print(f"memory, MiB: {', '.join(f'{size:.0f}' for size in memory)} (the last at rest; asked flat)")
    return not failures and not whole.wrong and health["status"] == "ok"


def prepare(folder: Path, model: str) -> tuple[str, str]:
    """An index of real photos, or of made-up pictures where there are none. Gives index and model."""
    photos = PHOTOS
    if not photos.is_dir():
        photos = folder / "photos"
        photos.mkdir()
        for n in range(100):
            (photos / f"{n}.jpg").write_bytes(picture(random.Random(n)))
    if model == "tiny":
        model = str(folder / "tiny")
        save_tiny(Path(model))
    index = str(folder / "index")
    if foveal(["index", str(photos), "--out", index, "--model", model]) != 0:
        raise SystemExit("The index could not be made.")
    return index, model


def save_tiny(folder: Path) -> None:
    """A model of random weights, for a machine without others: what it finds is senseless, how fast is not."""
    from foveal.data.images import ImageTransform
    from foveal.data.tokenizer import Tokenizer
    from foveal.encoder import Encoder
    from foveal.models.dual_encoder import DualEncoder
    from foveal.models.sizes import tiny

    config = tiny()
    Encoder(DualEncoder(config).eval(), Tokenizer.clip(), ImageTransform(size=config.vision.image_size)).save(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="Of mixed requests; a third of it a throughput.")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--model", default="starter", help="A model's name or folder, or tiny: random weights.")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {options.clients} clients, model {options.model}")
    with tempfile.TemporaryDirectory() as folder:
        index, model = prepare(Path(folder), options.model)
        throughput(index, model, options.clients, options.seconds / 3)
        well = endurance(index, model, options.clients, options.seconds)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
