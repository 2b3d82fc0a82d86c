"""How much the server bears: too much at once is told to come back, too large is refused, too slow is broken off."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from references.tiny_served import problem, service_of
from starlette.requests import Request

from crossgraph.core.errors import InputError
from crossgraph.serve.limits import Limits
from crossgraph.serve.problems import Problem
from crossgraph.serve.work import Workers


def connection(gone: asyncio.Event | None = None) -> Request:
    """Return a request whose client goes away when told to."""

    async def receive() -> dict[str, Any]:
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}, receive)


def test_more_than_the_queue_holds_is_told_to_come_back() -> None:
    workers, door = Workers(1, 2, 10, "test"), threading.Event()

    async def scenario() -> list[object]:
        calls = [asyncio.create_task(workers.run(connection(), door.wait)) for _ in range(5)]
        await asyncio.sleep(0.05)
        door.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(scenario())
    refused = [answer for answer in answers if isinstance(answer, Problem)]
    assert [answer.status_code for answer in refused] == [429, 429]
    assert all(answer.headers and answer.headers["Retry-After"] == "1" for answer in refused)
    assert answers.count(True) == 3
    assert workers.taken == 0
    workers.close()


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    workers, door, begun = Workers(1, 5, 10, "test"), threading.Event(), threading.Event()

    async def scenario() -> object:
        gone = asyncio.Event()
        first = asyncio.create_task(workers.run(connection(), door.wait))
        second = asyncio.create_task(workers.run(connection(gone), begun.set))
        await asyncio.sleep(0.05)
        gone.set()
        (answer,) = await asyncio.gather(second, return_exceptions=True)
        door.set()
        await first
        return answer

    answer = asyncio.run(scenario())
    workers.close()
    assert isinstance(answer, Problem)
    assert answer.status_code == 499
    assert not begun.is_set()


def test_what_takes_too_long_is_answered_and_keeps_its_place_until_it_ends() -> None:
    workers, door = Workers(1, 0, 0.05, "test"), threading.Event()

    async def scenario() -> list[object]:
        first = await asyncio.gather(workers.run(connection(), door.wait), return_exceptions=True)
        second = await asyncio.gather(workers.run(connection(), door.wait), return_exceptions=True)
        return [*first, *second]

    late, busy = asyncio.run(scenario())
    assert isinstance(late, Problem)
    assert isinstance(busy, Problem)
    assert (late.status_code, busy.status_code) == (503, 429)
    assert "--timeout" in late.remedy
    door.set()
    workers.close()
    assert workers.taken == 0


def test_what_a_task_raises_is_passed_on() -> None:
    workers = Workers(1, 0, 10, "test")

    def task() -> None:
        raise InputError("no")

    with pytest.raises(InputError):
        asyncio.run(workers.run(connection(), task))
    assert workers.taken == 0
    workers.close()
    with pytest.raises(Problem, match="ending"):
        asyncio.run(workers.run(connection(), task))


def test_a_busy_server_answers_429_and_recovers(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start(workers=1, queue=1)
    searcher, door = service_of(client).searcher, threading.Event()
    while service_of(client).heavy.taken:  # the search that warms it up
        time.sleep(0.01)
    search = type(searcher).search
    monkeypatch.setattr(searcher, "search", lambda query: (door.wait(20), search(searcher, query))[1])
    with ThreadPoolExecutor(6) as clients:
        calls = [clients.submit(client.get, "/api/search", params={"q": "dog"}) for _ in range(6)]
        while sum(call.done() for call in calls) < 4:
            time.sleep(0.01)
        assert client.get("/health").status_code == 200
        assert client.get("/api/pictures/1/thumbnail").status_code == 200  # small things do not wait behind searches
        door.set()
        answers = [call.result() for call in calls]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    problem(refused, 429)
    assert client.get("/api/search", params={"q": "dog"}).status_code == 200


def test_an_upload_over_the_limit_is_refused_however_it_comes(start: Any) -> None:
    client = start(max_upload=0.1)
    large = b"x" * 400_000
    problem(client.post("/api/search", files={"picture": large}), 413)
    edge = b'--e\r\nContent-Disposition: form-data; name="picture"; filename="x"\r\n\r\n'
    chunks = iter([edge, *[large[:50_000]] * 8, b"\r\n--e--\r\n"])
    headers = {"content-type": "multipart/form-data; boundary=e"}
    problem(client.post("/api/search", content=chunks, headers=headers), 413)
    problem(client.post("/api/index", content=large, headers={"content-type": "application/json"}), 413)
    assert client.get("/api/search", params={"q": "dog"}).status_code == 200


def test_a_body_that_does_not_arrive_is_not_waited_for() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    scope = {"type": "http", "path": "/api/search", "query_string": b"", "headers": []}
    with pytest.raises(Problem) as caught:
        asyncio.run(Limits(app, 100, 0.05)(scope, never, never))  # type: ignore[arg-type]
    assert caught.value.status_code == 408


def test_a_defect_of_ours_shows_no_trace(client: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def fail(query: object) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(service_of(client).searcher, "search", fail)
    answer = client.get("/api/search", params={"q": "dog"})
    assert "secret" not in problem(answer, 500)["detail"] + answer.text
    assert "content-security-policy" in answer.headers
    assert "ZeroDivisionError" in caplog.text  # the terminal tells


def test_a_store_that_is_down_is_503(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise InputError("http://host:6333: nobody answers", "start it")

    monkeypatch.setattr(service_of(client).library.store, "search", down)
    answer = client.get("/api/search", params={"q": "dog"})
    assert problem(answer, 503)["remedy"] == "start it"
    assert "retry-after" in answer.headers


@pytest.mark.parametrize("path", ["/api/nothing", "/nothing", "/assets/../../settings.py", "/assets/%2e%2e/run.py"])
def test_paths_that_are_none(client: Any, path: str) -> None:
    problem(client.get(path), 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods(client: Any, method: str) -> None:
    answer = client.request(method, "/api/search")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"


def test_metrics_count_requests_by_route(client: Any) -> None:
    client.get("/api/pictures/1")
    client.get("/api/pictures/2")
    client.get("/nothing")
    client.get("/api/search", params={"q": "dog"})
    text = client.get("/metrics").text
    assert 'crossgraph_requests_total{method="GET",route="/api/pictures/{number}",status="200"} 2.0' in text
    assert 'route="other",status="404"' in text
    assert 'crossgraph_search_seconds_count{stage="rerank"} 1.0' in text
    assert "crossgraph_pictures 12.0" in text
    assert "process_resident_memory_bytes" in text


def test_the_page_and_its_files(client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from crossgraph.serve import routes_page

    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>page")
    (tmp_path / "assets" / "page.js").write_text("1")
    (tmp_path.parent / "outside.js").write_text("2")
    monkeypatch.setattr(routes_page, "PAGE", tmp_path)
    first = client.get("/")
    assert (first.text, first.headers["cache-control"]) == ("<!doctype html>page", "no-cache")
    assert client.get("/", headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert client.get("/assets/page.js").headers["content-type"].startswith("text/javascript")
    problem(client.get("/assets/../../outside.js"), 404)
    problem(client.get("/assets/%2e%2e%2f%2e%2e%2foutside.js"), 404)
    problem(client.get("/favicon.ico"), 404)
    (tmp_path / "index.html").unlink()
    assert "npm run build" in client.get("/").text


def test_the_api_is_described_without_another_machine(client: Any) -> None:
    page = client.get("/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert client.get("/api/docs/style.css").headers["content-type"].startswith("text/css")


def test_openapi_is_3_1_and_every_operation_names_its_problems(client: Any) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["422"]["content"]
            assert "429" in operation["responses"]
    assert "securitySchemes" not in document["components"]


def test_uploads_are_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from crossgraph.core.types import Regions
    from crossgraph.serve import uploads

    regions = Regions(torch.zeros(1, 4, 6), torch.ones(1, 4, dtype=torch.bool))
    kept = uploads.Uploads()
    name = kept.add(regions)
    assert kept.get(name) is regions
    now = time.monotonic()
    monkeypatch.setattr(uploads.time, "monotonic", lambda: now + uploads.CACHE_SECONDS + 1)
    with pytest.raises(Problem):
        kept.get(name)
    others = [kept.add(regions) for _ in range(300)]
    with pytest.raises(Problem):
        kept.get(others[0])
    assert kept.get(others[-1]) is regions


def test_an_empty_file_field_counts_as_none(client: Any) -> None:
    assert "missing" in problem(client.post("/api/search", files={"picture": ("", io.BytesIO())}), 422)["detail"]
