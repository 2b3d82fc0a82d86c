"""A Qdrant server as a store: its URL, its key, and the ways in which it can be down. No real server is run."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from references.stub_qdrant import StubQdrant, stub_qdrant

from crossgraph.core.errors import InputError
from crossgraph.store import Point, open_store, parse_filter
from crossgraph.store.conditions import INDICES
from crossgraph.store.qdrant import connect

pytestmark = pytest.mark.filterwarnings("ignore:Local mode", "ignore:Api key is used with an insecure connection")
ROW = np.eye(8, dtype=np.float32)[0]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)


@pytest.fixture
def stub() -> Iterator[StubQdrant]:
    with stub_qdrant() as running:
        yield running


def refusal(url: str, **options: int) -> str:
    """Return the one line that opening a store ends with."""
    with pytest.raises(InputError) as caught:
        connect(url, 8, **options).close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_collection_is_made_with_an_index_on_every_field(stub: StubQdrant):
    connect(stub.url, 8).close()
    made = [body for (method, path), body in zip(stub.requests, stub.bodies, strict=True) if path.endswith("/index")]
    assert {body["field_name"] for body in made} == set(INDICES)
    schemas = {body["field_name"]: body["field_schema"] for body in made}
    assert schemas["path_folded"] == {"type": "keyword", "prefix": True}
    assert schemas["date"] == "integer"
    asked = len(stub.requests)
    connect(stub.url, 8).close()
    assert ("PUT", "/collections/crossgraph") not in stub.requests[asked:], "and the second time it is there"


def test_an_older_server_is_not_asked_what_it_does_not_know(stub: StubQdrant):
    stub.version = "1.12.4"
    store = connect(stub.url, 8)
    points = [Point(id, ROW, {"path": f"{'Alps' if id >= 700 else 'sea'}/{id}.jpg", "width": id}) for id in range(800)]
    store.upsert(points)
    where = parse_filter("path ~ alps and width < 790")
    assert [found.id for found in store.search(ROW, 100, where)] == list(range(700, 790))
    assert store.count(where) == 90
    assert store.count(parse_filter("width < 3 or not path ~ s")) == 3
    assert "substring" not in str(stub.bodies)
    assert "'prefix': True" not in str(stub.bodies)
    store.close()


def test_a_name_behind_the_url_is_the_collection(stub: StubQdrant, tmp_path: Path):
    assert connect(f"{stub.url}#holiday", 8, tmp_path).collection == "holiday"
    assert connect(stub.url, 8).collection == "crossgraph"


def test_two_libraries_do_not_share_a_collection_and_each_finds_its_own_again(stub: StubQdrant, tmp_path: Path):
    one, other = (connect(stub.url, 8, tmp_path / name) for name in ("one", "other"))
    one.upsert([Point(1, ROW, {})])
    assert other.count() == 0
    assert open_store(stub.url, tmp_path / "one", 8).count() == 1


def test_a_dropped_collection_is_gone_from_the_server_and_made_again_when_opened(stub: StubQdrant):
    store = connect(f"{stub.url}#holiday", 8)
    store.upsert([Point(1, ROW, {})])
    store.drop()
    store.close()
    assert not stub.client.collection_exists("holiday")
    assert connect(f"{stub.url}#holiday", 8).count() == 0


def test_the_key_is_sent_and_never_shown(stub: StubQdrant, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QDRANT_API_KEY", "secret-1\n")
    connect(stub.url, 8).close()
    assert set(stub.keys) == {"secret-1"}
    stub.failures, stub.status = 1, 401
    assert "set $QDRANT_API_KEY" in refusal(stub.url)
    stub.failures = 1
    assert "secret" not in refusal(stub.url)


def test_a_server_that_is_down_is_named_with_a_remedy():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    said = refusal(url)
    assert said.startswith(f"{url}: cannot be reached (connection refused): start Qdrant there")


def test_a_server_that_goes_down_later_is_named_too():
    with stub_qdrant() as stub:
        store = connect(stub.url, 8)
        store.upsert([Point(1, ROW, {})])
        url = stub.url
    for ask in (store.count, lambda: store.search(ROW, 1), lambda: store.delete([1]), lambda: list(store.ids())):
        with pytest.raises(InputError, match=url):
            ask()
    store.close()
    store.close()


def test_a_server_that_is_slow_is_not_waited_for(stub: StubQdrant):
    stub.delay = 3
    started = time.monotonic()
    assert "did not answer in time" in refusal(stub.url, timeout=1)
    assert time.monotonic() - started < 15


def test_a_fault_that_passes_is_not_told(stub: StubQdrant):
    store = connect(stub.url, 8)
    for status in (503, 429, 500):
        stub.failures, stub.status = 2, status
        assert store.count() == 0
        assert stub.failures == 0
    store.close()


@pytest.mark.parametrize(
    ("status", "tries", "said"),
    [
        (503, 3, "fails (503 Service Unavailable)"),
        (401, 1, "refuses access (401)"),
        (400, 1, "refuses the request (400: "),
    ],
)
def test_a_fault_that_stays_is_told_after_few_tries(stub: StubQdrant, status: int, tries: int, said: str):
    stub.failures, stub.status = 100, status
    assert said in refusal(stub.url)
    assert len(stub.requests) == tries


def test_what_is_no_qdrant_is_told_so(stub: StubQdrant):
    for page in ("<html>It works!</html>", "{}", '{"title": "stub", "version": "1.20.0", "result": null}', "[]"):
        stub.page = page
        assert "does not answer as Qdrant does: check host and port" in refusal(stub.url), page


def test_a_collection_of_another_model_or_of_somebody_else_is_not_touched(stub: StubQdrant):
    connect(stub.url, 8).close()
    with pytest.raises(InputError, match=r"'crossgraph' holds index vectors of 8 values, 16 are asked for.*#NAME"):
        connect(stub.url, 16)
    from qdrant_client.http import models

    stub.client.create_collection("theirs", {"image": models.VectorParams(size=8, distance=models.Distance.COSINE)})
    assert "'theirs' is not one of crossgraph's" in refusal(f"{stub.url}#theirs")


@pytest.mark.parametrize(
    "url", ["http://", "ftp://host:21", "http://host:port", "http://[::1", "http://host?x=1", "://"]
)
def test_what_is_no_url_is_refused(url: str):
    with pytest.raises(InputError, match="no URL"):
        open_store(url, None, 8)


def test_a_key_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(InputError, match=r"set \$QDRANT_API_KEY") as caught:
        open_store("http://me:hunter2@host:6333", None, 8)
    assert "hunter2" not in str(caught.value)
