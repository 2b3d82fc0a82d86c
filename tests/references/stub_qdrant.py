"""A server that answers as Qdrant does, out of the client's in-memory mode; it can also be slow, down or strange."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_client import QdrantClient
from qdrant_client.http import models


class StubQdrant:
    """What the server holds, and how it behaves.

    Attributes:
        version: What it says it is.
        delay: Seconds before every answer.
        failures: Answers still to come that are `status` instead.
        status: The HTTP status of a failure.
        page: Where given, the body of every answer.
        requests: Method and path of what was asked.
        keys: The keys that were sent.
        bodies: What was sent, as JSON.
    """

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:")
        self.version = "1.20.0"
        self.delay = 0.0
        self.failures = 0
        self.status = 503
        self.page = ""
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.keys: list[str | None] = []
        self.url = ""
        self.guard = threading.Lock()

    def answer(self, method: str, parts: list[str], body: dict[str, Any]) -> Any:
        """Answer one request."""
        if not parts:
            return None
        name, rest = parts[1], parts[2:]
        if rest == ["exists"]:
            return {"exists": self.client.collection_exists(name)}
        if not rest and method == "PUT":
            return self.client.create_collection(name, models.VectorParams(**body["vectors"]))
        if not rest and method == "DELETE":
            return self.client.delete_collection(name)
        if not rest:
            return self.client.get_collection(name).model_dump(mode="json")
        if rest == ["index"]:
            return {"operation_id": 0, "status": "completed"}
        return self.points(name, rest[1:], body)

    def points(self, name: str, rest: list[str], body: dict[str, Any]) -> Any:
        """Answer a request about points."""
        asked = models.Filter.model_validate(body["filter"]) if body.get("filter") else None
        if not rest:
            points = [models.PointStruct(**point) for point in body["points"]]
            return self.client.upsert(name, points).model_dump(mode="json")
        if rest == ["delete"]:
            return self.client.delete(name, models.PointIdsList(points=body["points"])).model_dump(mode="json")
        if rest == ["count"]:
            return self.client.count(name, asked).model_dump(mode="json")
        if rest == ["scroll"]:
            found, following = self.client.scroll(name, asked, body["limit"], offset=body.get("offset"))
            return {"points": [one.model_dump(mode="json") for one in found], "next_page_offset": following}
        offset = body.get("offset", 0)
        return self.client.query_points(
            name, query=body["query"]["nearest"], query_filter=asked, limit=body["limit"], offset=offset
        ).model_dump(mode="json")


@contextlib.contextmanager
def stub_qdrant() -> Iterator[StubQdrant]:
    """Run a stub on a free port of this machine."""
    stub = StubQdrant()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            time.sleep(stub.delay)
            with stub.guard:
                stub.requests.append((self.command, path))
                stub.keys.append(self.headers.get("api-key"))
                stub.bodies.append(json.loads(sent or b"{}"))
                try:
                    status, text = self.outcome([part for part in path.split("/") if part], stub.bodies[-1])
                except Exception as error:  # noqa: BLE001 - told to the client, so that a test fails at once and says why
                    status, text = 400, repr(error).encode()
            with contextlib.suppress(OSError):  # the client may have given up
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def outcome(self, parts: list[str], body: dict[str, Any]) -> tuple[int, bytes]:
            if stub.failures:
                stub.failures -= 1
                return stub.status, b'{"status": {"error": "refused\\nby the stub"}}'
            if stub.page:
                return 200, stub.page.encode()
            if not parts:
                return 200, json.dumps({"title": "stub", "version": stub.version}).encode()
            result = stub.answer(self.command, parts, body)
            return 200, json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()

        do_GET = do_PUT = do_POST = do_DELETE = handle_any

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
            stub.client.close()
