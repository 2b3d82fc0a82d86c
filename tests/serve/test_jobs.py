"""Index jobs: one at a time, followed live, while searches go on; pages cannot name new folders."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from references.tiny_served import COUNT, draw, make_library, problem, service_of


@pytest.fixture
def growing(tmp_path: Path, start: Any) -> tuple[Any, Path]:
    """An application over a folder with new pictures in it, and the folder."""
    draw(tmp_path / "mine", 3)
    make_library(tmp_path / "changing", tmp_path / "mine")
    draw(tmp_path / "mine" / "more", 40, seed=1)
    return start(tmp_path / "changing"), tmp_path / "mine"


def wait(client: Any, name: str) -> dict[str, Any]:
    for _ in range(400):
        found = client.get(f"/api/jobs/{name}").json()
        if found["state"] != "running":
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def test_a_job_indexes_what_is_new(growing: tuple[Any, Path]) -> None:
    client, _ = growing
    begun = client.post("/api/index")
    assert begun.status_code == 202
    ended = wait(client, begun.json()["id"])
    assert (ended["state"], ended["outcome"]["added"], ended["outcome"]["pictures"]) == ("done", 40, 43)
    assert client.get("/api/library").json()["pictures"] == 43
    assert client.get("/api/search", params={"q": "dog", "k": 100}).json()["total"] == 43
    assert "crossgraph_indexed_total 40.0" in client.get("/metrics").text


def test_progress_comes_as_events_until_the_end(growing: tuple[Any, Path]) -> None:
    client, _ = growing
    name = client.post("/api/index", json={}).json()["id"]
    with client.stream("GET", f"/api/jobs/{name}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in stream.headers  # a compressor would keep events back
        told = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert {"done", "total", "rate", "left"} <= set(told[0])
    assert told[-1]["state"] == "done"
    assert (told[-1]["done"], told[-1]["total"]) == (40, 40)
    assert [one["state"] for one in told[:-1]] == ["running"] * (len(told) - 1)
    again = client.get(f"/api/jobs/{name}/events", headers={"last-event-id": "end"})
    assert again.status_code == 204  # a browser that reconnects is told to stop


def test_only_one_job_runs_and_searches_go_on(growing: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = growing
    encoder = service_of(client).region_encoder()
    monkeypatch.setattr(encoder, "seconds", 0.02)
    name = client.post("/api/index").json()["id"]
    assert name in problem(client.post("/api/index"), 409)["remedy"]
    assert client.get("/api/library").json()["indexing"]["id"] == name
    assert len(client.get("/api/search", params={"q": "dog"}).json()["hits"]) >= 3
    assert client.get(f"/api/jobs/{name}").json()["state"] == "running"
    monkeypatch.setattr(encoder, "seconds", 0.0)
    wait(client, name)
    assert client.get("/api/library").json()["indexing"] is None


def test_a_job_that_fails_says_why(growing: tuple[Any, Path]) -> None:
    client, folder = growing
    folder.rename(folder.with_name("away"))
    ended = wait(client, client.post("/api/index").json()["id"])
    assert ended["state"] == "failed"
    assert str(folder) in ended["problem"]


def test_pages_cannot_name_new_folders_but_this_users_commands_can(growing: tuple[Any, Path], tmp_path: Path) -> None:
    client, folder = growing
    new = draw(tmp_path / "new", 5, seed=2)
    document = problem(client.post("/api/index", json={"roots": [str(new)]}), 403)
    assert "crossgraph index" in document["remedy"]
    owner = {"authorization": f"Bearer {service_of(client).owner_token}"}
    name = client.post("/api/index", json={"roots": [str(new)]}, headers=owner).json()["id"]
    assert wait(client, name)["outcome"]["added"] == 5
    problem(client.post("/api/index", json={"roots": [str(tmp_path / "none")]}, headers=owner), 404)
    name = client.post("/api/index", json={"roots": [str(folder)]}).json()["id"]
    assert wait(client, name)["outcome"]["added"] == 40


def test_requests_that_are_none(client: Any) -> None:
    problem(client.get("/api/jobs/0123"), 404)
    problem(client.get("/api/jobs/0123/events"), 404)
    problem(client.post("/api/index", content=b"roots", headers={"content-type": "text/plain"}), 415)
    problem(client.post("/api/index", content=b"{", headers={"content-type": "application/json"}), 422)
    problem(client.post("/api/index", json={"folders": []}), 422)


def test_an_empty_library_says_how_to_fill_it(tmp_path: Path, start: Any) -> None:
    client = start(make_library(tmp_path / "empty", None))
    state = client.get("/api/library").json()
    assert state["pictures"] == 0
    assert "crossgraph index" in state["hint"]
    found = client.get("/api/search", params={"q": "dog"}).json()
    assert found["hits"] == []
    assert "crossgraph index" in found["message"]
    problem(client.get("/api/explain", params={"ids": "1", "q": "dog"}), 404)
    problem(client.post("/api/index"), 409)


def test_an_empty_library_is_filled_while_it_is_served(tmp_path: Path, start: Any) -> None:
    client = start(make_library(tmp_path / "empty", None))
    folder = draw(tmp_path / "new", 5)
    owner = {"authorization": f"Bearer {service_of(client).owner_token}"}
    wait(client, client.post("/api/index", json={"roots": [str(folder)]}, headers=owner).json()["id"])
    assert len(client.get("/api/search", params={"q": "dog"}).json()["hits"]) == 5


def test_the_end_of_the_server_stops_a_job_and_keeps_what_it_did(tmp_path: Path, start: Any) -> None:
    draw(tmp_path / "mine", 3)
    make_library(tmp_path / "changing", tmp_path / "mine")
    draw(tmp_path / "mine" / "more", 200, seed=1)
    client = start(tmp_path / "changing")
    service = service_of(client)
    service.region_encoder().seconds = 0.02  # type: ignore[attr-defined]
    name = client.post("/api/index").json()["id"]
    while client.get(f"/api/jobs/{name}").json()["done"] == 0:
        time.sleep(0.02)
    service.close()
    assert service.jobs.get(name).state == "stopped"
    again = start(tmp_path / "changing")
    assert 3 < again.get("/api/library").json()["pictures"] < 203
    ended = wait(again, again.post("/api/index").json()["id"])
    assert ended["outcome"]["pictures"] == 203


def test_the_state_tells_what_the_library_holds(client: Any, made: Path) -> None:
    state = client.get("/api/library").json()
    assert (state["pictures"], state["files"], state["broken"]) == (COUNT, COUNT + 1, 0)
    assert state["roots"] == [str(made / "pictures")]
    assert (state["calibrated"], state["region_encoder"], state["store"]) == (False, "tiny", "memory")
    assert state["bytes_per_picture"] > 0
