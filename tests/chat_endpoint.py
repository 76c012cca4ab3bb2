"""A chat endpoint on loopback that answers as a test wants: well, slowly, not at all, or with half an answer."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = {"long_caption": "A red cup stands on a small wooden table beside a blue book.", "short_caption": "A red cup."}
PROMPT_TOKENS, COMPLETION_TOKENS = 100, 20


@dataclass
class Reply:
    """One answer.

    Attributes:
        text: What the model says. A dictionary is sent as JSON.
        status: Of HTTP.
        headers: Further ones.
        wait: Seconds until it comes.
        cut: Send half of it and close the connection.
        refusal: The field of a message that says that the model will not.
        finish: Why it ended.
        raw: Sent in place of the usual JSON around the text.
        pace: Seconds between two bytes of the body, or of the headers if `slow_headers`.
        slow_headers: Whether the headers come byte by byte, too.
        flood: Bytes of white space that the body begins with, made while they are sent.
    """

    text: str | dict = field(default_factory=lambda: GOOD)
    status: int = 200
    headers: dict = field(default_factory=dict)
    wait: float = 0.0
    cut: bool = False
    refusal: str | None = None
    finish: str = "stop"
    raw: str | bytes | None = None
    pace: float = 0.0
    slow_headers: bool = False
    flood: int = 0

    def content(self) -> bytes:
        if self.raw is not None:
            return self.raw.encode() if isinstance(self.raw, str) else self.raw
        if self.status != 200:
            return json.dumps({"error": {"message": f"made to fail with {self.status}"}}).encode()
        text = self.text if isinstance(self.text, str) else json.dumps(self.text)
        message = {"role": "assistant", "content": None if self.refusal else text, "refusal": self.refusal}
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS}
        return json.dumps({"choices": [{"message": message, "finish_reason": self.finish}], "usage": usage}).encode()


class ChatEndpoint:
    """The server. `reply(turn, body)` says what to answer, `turn` counting from 0 for each picture and first words.

    Attributes:
        asked: How often each question came, by `name_of`.
        paid: Answers that were sent whole.
        bodies: All requests.
        keys: All authorizations.
        busiest: Most questions at once.
    """

    def __init__(self, reply: Callable[[int, dict], Reply] = lambda turn, body: Reply()) -> None:
        self.reply = reply
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.paid, self.busiest, self._busy = 0, 0, 0
        self.bodies: list[dict] = []
        self.keys: list[str | None] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are sent apart

            def do_POST(self) -> None:
                outer.handle(self)

            def do_GET(self) -> None:
                outer.send(self, Reply(raw=json.dumps({"data": [{"id": "tiny-vl"}]})))

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args: object) -> None:  # a client that was killed
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        name = name_of(body)
        with self._lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
            self.bodies.append(body)
            self.keys.append(request.headers["authorization"])
            turn = self.asked[name]
            self.asked[name] += 1
        try:
            reply = self.reply(turn, body)
            time.sleep(reply.wait)
            self.send(request, reply)
            if reply.status == 200 and not reply.cut and reply.raw is None:
                with self._lock:
                    self.paid += 1
                    self.answered[name] += 1
        except OSError:  # the client has gone
            request.close_connection = True
        finally:
            with self._lock:
                self._busy -= 1

    @staticmethod
    def send(request: BaseHTTPRequestHandler, reply: Reply) -> None:
        content = reply.content()
        if reply.slow_headers:
            ChatEndpoint.trickle(request, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000, reply.pace)
        request.send_response(reply.status)
        for header, value in {"Content-Type": "application/json", **reply.headers}.items():
            request.send_header(header, value)
        request.send_header("Content-Length", str(reply.flood + len(content)))
        request.end_headers()
        for _ in range(reply.flood >> 20):
            request.wfile.write(b" " * (1 << 20))
        if reply.pace:
            ChatEndpoint.trickle(request, content, reply.pace)
        request.wfile.write(content[: len(content) // 2] if reply.cut else content)
        request.wfile.flush()
        request.close_connection = reply.cut

    @staticmethod
    def trickle(request: BaseHTTPRequestHandler, content: bytes, pace: float) -> None:
        for byte in content:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            time.sleep(pace)
        raise BrokenPipeError("this connection is of no further use")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def name_of(body: dict) -> str:
    """One name for a question, whichever time it is asked: its picture and the first words of what is asked."""
    content = body["messages"][0]["content"]
    picture = next((part["image_url"]["url"] for part in content if part["type"] == "image_url"), "")
    return f"{sha256(picture.encode()).hexdigest()[:8]} {content[0]['text'][:200]}"
