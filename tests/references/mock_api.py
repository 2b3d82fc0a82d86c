"""A server with the search API's answers about the drawn world, to test the page without a model or a library."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image
from references.mock_world import content, drawn, encoded, explained, probability, tokens

import crossgraph
from crossgraph.store.filter import FilterError, matches, parse_filter

PAGE = Path(crossgraph.__file__).parent / "serve" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass
class World:
    """What the server has, and how it behaves; tests change it while it runs."""

    pictures: int = 1204
    boxes: bool = False
    token: str = ""
    job: str = ""
    ticks: int = 30
    held: bool = False  # searches wait while it is
    removed: set[int] = field(default_factory=set)
    uploads: list[bytes] = field(default_factory=list)
    asked: list[dict[str, list[str]]] = field(default_factory=list)  # the searches so far


class Wrong(Exception):
    """An answer that is a problem document."""

    def __init__(self, status: int, detail: str, remedy: str = "", at: dict[str, int] | None = None) -> None:
        self.status = status
        title = HTTPStatus(status).phrase
        self.document = {"title": title, "status": status, "detail": detail, "remedy": remedy, **(at or {})}
        super().__init__(title)


def search(world: World, fields: dict[str, list[str]], upload: bytes | None) -> dict[str, Any]:
    """Answer a search."""
    world.asked.append(fields)
    while world.held:
        time.sleep(0.01)
    sentence, minus = fields.get("q", [""])[0], tuple(fields.get("minus", []))
    words = tokens(sentence)
    unknown = [token["text"] for token in words if not token["known"]]
    name = fields.get("picture", [None])[0]
    if upload is not None:
        try:
            Image.open(BytesIO(upload)).load()
            world.uploads.append(upload)
            name = f"upload-{len(world.uploads)}"
        except OSError:
            raise Wrong(422, "the upload: not a picture", "send a picture that opens") from None
    like = [drawn(int(number)) for number in fields.get("like", [])]
    shapes = {thing.shape for picture in like for thing in picture.things}
    try:
        where = parse_filter(fields["where"][0]) if "where" in fields else None
    except FilterError as error:
        raise Wrong(422, error.problem, error.remedy, {"position": error.position, "length": error.length}) from None
    found = [drawn(number) for number in range(world.pictures)]
    found = [picture for picture in found if where is None or matches(where, picture.payload)]
    found = [picture for picture in found if not shapes or shapes & picture.words]
    if unknown and not content(sentence) and not like and name is None:
        found = []
    scored = sorted(((probability(picture, sentence, minus), -picture.id) for picture in found), reverse=True)[:1000]
    offset, k = int(fields.get("offset", ["0"])[0]), int(fields.get("k", ["20"])[0])
    hits = [hit(drawn(-number), value) for value, number in scored[offset : offset + k]]
    return {
        "hits": hits,
        "tokens": words,
        "unknown": unknown,
        "any_good": any(value >= 0.5 for value, _ in scored),
        "total": len(scored),
        "cut": len(found) > 1000,
        "pictures": world.pictures,
        "picture": name,
        "timings": {"encode": 3.1, "nearest": 8.7, "rerank": 25.9, "total": 37.7},
    }


def hit(picture: Any, value: float) -> dict[str, Any]:
    """Return a picture as a hit."""
    return {
        "id": picture.id,
        "path": picture.payload["path"],
        "name": picture.name,
        "score": value,
        "probability": value,
        "copies": 3 if picture.id % 10 == 4 else 0,
        "width": picture.width,
        "height": picture.height,
        "date": picture.payload["date"],
        "thumbnail": f"/api/pictures/{picture.id}/thumbnail",
    }


class Handler(BaseHTTPRequestHandler):
    """Routes; `world` is set by the server's class made for it."""

    world: World

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        try:
            self._get()
        except Wrong as wrong:
            self._json(wrong.document, wrong.status, "application/problem+json")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the page asked for something newer

    do_POST = do_GET

    def _get(self) -> None:
        path, fields = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        given = fields.get("token", [""])[0]
        known = given == self.world.token or f"token={self.world.token}" in self.headers.get("cookie", "")
        if path.startswith("/api/") and self.world.token and not known:
            raise Wrong(401, "the token is missing", "open the address that crossgraph serve printed.")
        if path == "/api/search":
            upload = None
            if self.command == "POST":
                fields, upload = self._multipart()
            return self._json(search(self.world, fields, upload))
        if path == "/api/explain":
            sentence = fields["q"][0]
            chosen = [explained(drawn(int(n)), sentence, self.world.boxes) for n in fields["ids"][0].split(",")]
            return self._json({"tokens": tokens(sentence), "pictures": chosen})
        if path == "/api/library":
            job = {"id": self.world.job, "state": "running"} if self.world.job else None
            return self._json({"pictures": self.world.pictures, "model": "mock", "calibrated": True, "indexing": job})
        if path == "/health":
            return self._json({"status": "ok"})
        if found := re.fullmatch(r"/api/jobs/\w+/events", path):
            return self._events()
        if found := re.fullmatch(r"/api/pictures/(\d+)(/thumbnail|/image|)", path):
            return self._picture(int(found[1]), found[2])
        return self._file("index.html" if path == "/" else path.lstrip("/"), given)

    def _picture(self, number: int, what: str) -> None:
        if number > 900_000:
            raise Wrong(404, f"picture {number} is not in the library", "search again")
        if number in self.world.removed and what == "/image":
            raise Wrong(410, f"picture {number} was moved, changed or deleted", "index its folder again")
        if what:
            body = encoded(number, 1024 if what == "/image" else 256)
            return self._send(body, "image/webp", extra={"cache-control": "max-age=31536000, immutable"})
        data = {"id": number, **drawn(number).payload, "captions": ["<img src=x onerror=alert(1)> two shapes"]}
        return self._json({**data, "paths": [data.pop("path")]})

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for done in range(1, self.world.ticks + 1):
            if done == self.world.ticks:
                self.world.job = ""  # a test may end it sooner
            event = {"done": 40 * done, "total": 40 * self.world.ticks, "rate": 61.2, "left": self.world.ticks - done}
            state = "running" if self.world.job else "done"
            self.wfile.write(f"data: {json.dumps({**event, 'state': state})}\n\n".encode())
            self.wfile.flush()
            if state == "done":
                return
            time.sleep(0.05)

    def _multipart(self) -> tuple[dict[str, list[str]], bytes]:
        body = self.rfile.read(int(self.headers["content-length"]))
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        fields: dict[str, list[str]] = {}
        upload = b""
        for part in message_from_bytes(head + body, policy=HTTP).iter_parts():
            name = part.get_param("name", header="content-disposition")
            payload = part.get_payload(decode=True)
            if name == "picture":
                upload = payload
            else:
                fields.setdefault(name, []).append(payload.decode().rstrip("\r\n"))
        return fields, upload

    def _file(self, name: str, token: str) -> None:
        path = PAGE / name
        if path.suffix not in KINDS or not path.is_file():
            raise Wrong(404, "not found")
        cookie = {"set-cookie": f"token={token}; HttpOnly; SameSite=Strict"} if token else {}
        self._send(path.read_bytes(), KINDS[path.suffix], extra=cookie)

    def _json(self, answer: object, status: int = 200, kind: str = "application/json") -> None:
        self._send(json.dumps(answer).encode(), kind, status)

    def _send(self, body: bytes, kind: str, status: int = 200, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"content-type": kind, "content-length": str(len(body)), "content-security-policy": POLICY}
        for name, value in {**headers, "x-content-type-options": "nosniff", **(extra or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class MockApi:
    """The server in a thread; it can be stopped and started again at the same address."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self._port = 0
        self._server: _Server | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        handler = type("WorldHandler", (Handler,), {"world": self.world})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


if __name__ == "__main__":
    api = MockApi()
    print(api.url)
    threading.Event().wait()
