"""What is Edge's own: one owner, an index built aside, processes that are killed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crossgraph.core.errors import InputError
from crossgraph.store import Point, open_store, parse_filter
from crossgraph.store.edge import EdgeSettings, EdgeStore
from crossgraph.store.edge_process import EdgeEndedError, EdgeProcess
from crossgraph.store.folder import OwnedError, read_owner

SIZE = 16
EARLY = EdgeSettings(plain_kilobytes=20, full_scan=1)  # an index from some 300 points on


def vectors(count: int) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(count, SIZE)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def points(count: int) -> list[Point]:
    return [Point(id, row, {"width": id, "path": f"Alps/{id}.jpg"}) for id, row in enumerate(vectors(count))]


def shards(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("shard-*"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: making one waits for the disk at every field."""
    folder = tmp_path_factory.mktemp("edge") / "empty"
    EdgeStore(folder, SIZE, EARLY).close()
    return folder


@pytest.fixture
def store(tmp_path: Path, empty: Path) -> Iterator[EdgeStore]:
    shutil.copytree(empty, tmp_path / "store")
    opened = EdgeStore(tmp_path / "store", SIZE, EARLY)
    yield opened
    opened.close()


def host(store: EdgeStore) -> int:
    return store._process.pid


def building(store: EdgeStore, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """Call something when an index has been built aside, before it takes the shard's place."""
    build = store._build

    def built(copy: Path, waiting: Callable[[], None]) -> None:
        build(copy, waiting)
        meanwhile()

    monkeypatch.setattr(store, "_build", built)


def test_an_index_is_built_aside_and_takes_the_place_of_the_former(store: EdgeStore):
    given = points(600)
    store.upsert(given)
    told: list[tuple[str, int, int]] = []
    former = host(store)
    store.optimise(lambda *what: told.append(what))
    assert host(store) != former
    assert shards(store.folder) == ["shard-2"]
    assert told[0] == ("building the index", 0, 600)
    assert told[-1] == ("building the index", 600, 600)
    found = [store.search(point.vector, 1)[0].id for point in given[:100]]
    assert np.mean(np.array(found) == np.arange(100)) > 0.98
    assert store.count(parse_filter("path ~ 'alps/59'")) == 11
    store.optimise(lambda *what: told.append(what))
    assert shards(store.folder) == ["shard-2"], "nothing had changed"


@pytest.mark.slow
def test_what_was_replaced_or_removed_is_worth_an_index_too(store: EdgeStore):
    given = points(600)
    store.upsert(given)
    store.optimise()
    store.upsert([Point(point.id, -point.vector, {}) for point in given])
    store.close()
    again = EdgeStore(store.folder, SIZE, EARLY)
    again.optimise()
    assert shards(store.folder) == ["shard-3"]
    assert again.search(-given[3].vector, 1)[0].id == 3
    again.delete(range(300))
    again.optimise()
    assert shards(store.folder) == ["shard-4"]
    assert again.count() == 300
    again.close()


def test_little_is_not_worth_an_index(store: EdgeStore):
    store.upsert(points(200))
    store.optimise()
    assert shards(store.folder) == ["shard-1"]


def test_searches_and_changes_go_on_while_an_index_is_built(store: EdgeStore, monkeypatch: pytest.MonkeyPatch):
    given = points(600)
    store.upsert(given)

    def change() -> None:
        store.upsert([Point(7, given[3].vector, {"camera": "Canon"}), Point(1000, given[5].vector, {})])
        store.delete([9])
        assert store.search(given[3].vector, 2)[1].id == 7
        assert shards(store.folder) == ["shard-1", "shard-2"]

    building(store, monkeypatch, change)
    store.optimise()
    assert store.count() == 600
    assert store.count(parse_filter("camera = Canon")) == 1
    assert {one.id for one in store.search(given[5].vector, 2)} == {5, 1000}
    assert 9 not in list(store.ids())
    store.close()
    again = EdgeStore(store.folder, SIZE, EARLY)
    assert again.count() == 600
    assert again.count(parse_filter("camera = Canon")) == 1
    again.close()


@pytest.mark.slow
def test_an_index_that_cannot_be_built_leaves_the_store_as_it_was(store: EdgeStore, monkeypatch: pytest.MonkeyPatch):
    given = points(600)
    store.upsert(given)

    def fail() -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        building(store, patched, fail)
        with pytest.raises(OSError, match="no room"):
            store.optimise()
    assert shards(store.folder) == ["shard-1"]
    assert store.search(given[3].vector, 1)[0].id == 3
    store.upsert([Point(1000, given[0].vector, {})])
    store.optimise()
    assert store.count() == 601
    assert shards(store.folder) == ["shard-2"]


def test_closing_gives_up_an_index_being_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = EdgeStore(tmp_path, SIZE, EdgeSettings(plain_kilobytes=20, m=64, ef_construct=2000))
    store.upsert(points(4000))
    raised: list[Exception] = []

    def optimise() -> None:
        try:
            store.optimise()
        except InputError as error:
            raised.append(error)

    thread = threading.Thread(target=optimise)
    thread.start()
    until = time.monotonic() + 60
    while store._builder is None and time.monotonic() < until:
        time.sleep(0.01)
    store.close()
    thread.join()
    assert "was stopped" in str(raised[0])
    assert shards(tmp_path) == ["shard-1"]
    with pytest.raises(InputError, match="closed"):
        store.count()


def test_a_killed_engine_is_started_again_and_has_lost_nothing(store: EdgeStore):
    given = points(50)
    store.upsert(given)
    for _ in range(2):
        os.kill(host(store), signal.SIGKILL)
        assert store.count() == 50
    os.kill(host(store), signal.SIGKILL)
    store.delete([3])
    assert store.count() == 49


def test_an_interrupted_request_leaves_no_answer_for_the_next(store: EdgeStore, monkeypatch: pytest.MonkeyPatch):
    store.upsert(points(50))
    connection = store._process._connection

    class Interrupted:
        send = connection.send
        close = connection.close

        def recv(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(store._process, "_connection", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        store.count()
    assert store.search(points(50)[3].vector, 1)[0].id == 3


def test_a_store_has_one_owner(store: EdgeStore):
    with pytest.raises(OwnedError, match="open in this process"):
        open_store("edge", store.folder, SIZE)
    script = f"import sys, pathlib, crossgraph.store as s; s.open_store('edge', pathlib.Path(sys.argv[1]), {SIZE})"
    line = [sys.executable, "-c", script, str(store.folder)]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    assert f"open in process {os.getpid()} (" in ended.stderr.splitlines()[-1]
    store.announce("http://127.0.0.1:8000")
    assert read_owner(store.folder).address == "http://127.0.0.1:8000"
    with pytest.raises(OwnedError, match=r"ask it at http://127\.0\.0\.1:8000"):
        open_store("edge", store.folder, SIZE)


def test_a_lock_is_given_back_and_one_left_behind_is_taken_over(store: EdgeStore):
    store.close()
    assert read_owner(store.folder) is None
    (store.folder / "owner.lock").write_text('{"pid": 1, "command": "init", "address": ""}')
    EdgeStore(store.folder, SIZE).close()


def test_a_forked_worker_holds_nothing_of_the_store(store: EdgeStore):
    store.upsert(points(50))
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=time.sleep, args=(60,))
    worker.start()
    try:
        store.close()
        again = EdgeStore(store.folder, SIZE)
        assert again.count() == 50
        again.close()
    finally:
        worker.kill()
        worker.join()


def test_what_another_engine_or_model_made_is_refused(store: EdgeStore):
    store.close()
    with pytest.raises(InputError, match=r"values, 8 are asked for.*rebuild"):
        open_store("edge", store.folder, 8)
    with pytest.raises(InputError, match="of the engine 'edge', not 'memory'"):
        open_store("memory", store.folder, SIZE)
    assert open_store("edge", store.folder, SIZE).close() is None


def test_a_broken_store_is_one_line_with_a_remedy(store: EdgeStore):
    store.upsert(points(50))
    store.close()
    for path in (store.folder / "shard-1" / "segments").rglob("*.json"):
        path.write_text("{")
    with pytest.raises(InputError, match="library rebuild") as caught:
        open_store("edge", store.folder, SIZE)
    assert "\n" not in str(caught.value)
    (store.folder / "shard-1").rename(store.folder / "elsewhere")
    with pytest.raises(InputError, match=r"no such folder.*library rebuild"):
        open_store("edge", store.folder, SIZE)
    (store.folder / "store.json").write_text('{"format": 9}')
    with pytest.raises(InputError, match="format 9"):
        open_store("edge", store.folder, SIZE)


def test_what_a_stopped_build_left_is_cleared_away(store: EdgeStore):
    store.upsert(points(50))
    store.close()
    (store.folder / "shard-2" / "segments").mkdir(parents=True)
    again = EdgeStore(store.folder, SIZE)
    assert shards(store.folder) == ["shard-1"]
    assert again.count() == 50
    again.close()


_WRITER = """
import sys, numpy as np
from pathlib import Path
from types import SimpleNamespace
from crossgraph.store import Point
from crossgraph.store.edge import EdgeSettings, EdgeStore
from crossgraph.store.edge_process import EdgeEndedError, EdgeProcess
store = EdgeStore(Path(sys.argv[1]), 16, EdgeSettings(plain_kilobytes=20))
rows = np.random.default_rng(0).normal(size=(100_000, 16)).astype(np.float32)
start = int(sys.argv[2])
print(store._process.pid, flush=True)
for first in range(start, 100_000, 50):
    store.upsert([Point(id, rows[id], {"width": id}) for id in range(first, first + 50)])
    print(first + 50, flush=True)
    if first % 1000 == 0 and sys.argv[3] == "optimise":
        store.optimise()
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["upsert", "optimise", "engine first"])
def test_kill_9_at_any_moment_loses_nothing_that_was_done(tmp_path: Path, mode: str):
    draw = np.random.default_rng(3)
    rows = np.random.default_rng(0).normal(size=(100_000, 16)).astype(np.float32)
    done = 0
    for _ in range(5):
        line = [sys.executable, "-c", _WRITER, str(tmp_path), str(done), mode]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            engine = int(writer.stdout.readline())
            done = int(writer.stdout.readline())
            time.sleep(draw.uniform(0, 1))
            if mode == "engine first":
                writer.send_signal(signal.SIGSTOP)
                os.kill(engine, signal.SIGKILL)
            writer.kill()
            done = max([done, *map(int, writer.stdout.read().splitlines())])
        store = EdgeStore(tmp_path, 16, EdgeSettings(plain_kilobytes=20))
        kept = list(store.ids())
        assert kept[:done] == list(range(done)), "each that was reported is there"
        assert len(kept) - done in range(51), "and of the last request all, some or nothing"
        for id in (0, done // 2, done - 1):
            assert store.search(rows[id], 1, parse_filter(f"width = {id}"))[0].score == pytest.approx(1)
        store.close()
        assert len(shards(tmp_path)) == 1


def test_an_engine_that_ends_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def end(self: EdgeProcess, *_: object, **__: object) -> object:
        raise EdgeEndedError("signal 7")

    monkeypatch.setattr(EdgeProcess, "ask", end)
    with pytest.raises(InputError, match="library rebuild"):
        EdgeStore(tmp_path / "store", 8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(InputError, match=r"no room left.*free some disk space"):
        EdgeStore(tmp_path / "store", 8)
