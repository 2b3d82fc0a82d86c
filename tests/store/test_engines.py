"""What every engine does: the same tests for memory, Edge, and a Qdrant server (the client's own, and over HTTP)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.drawn_filters import Drawn, drawn_filters, payloads, tree
from references.stub_qdrant import stub_qdrant

from crossgraph.store import Point, Store, matches, open_store, parse_filter
from crossgraph.store.fields import FIELDS
from crossgraph.store.filter import Compare
from crossgraph.store.qdrant import QdrantStore

pytestmark = pytest.mark.filterwarnings("ignore:Local mode", "ignore:Payload indexes have no effect")
SIZE = 8


@pytest.fixture(scope="module", params=["memory", "edge", "qdrant", "qdrant over HTTP", "an older qdrant"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    kind = request.param
    if kind in ("memory", "edge"):
        store = open_store(kind, tmp_path_factory.mktemp(kind), SIZE)
        yield store
        store.close()
    elif kind == "qdrant":
        from qdrant_client import QdrantClient

        store = QdrantStore(QdrantClient(":memory:"), SIZE)
        yield store
        store.close()
    else:
        with stub_qdrant() as stub:
            stub.version = "1.18.2" if kind == "an older qdrant" else "1.20.0"
            store = open_store(stub.url, None, SIZE)
            yield store
            store.close()


@pytest.fixture
def store(opened: Store) -> Store:
    opened.delete(list(opened.ids()))
    return opened


def vectors(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def filled(store: Store, count: int = 50) -> np.ndarray:
    rows = vectors(count)
    store.upsert([Point(id, row, {"width": id, "path": f"Alps/{id}.jpg"}) for id, row in enumerate(rows)])
    return rows


def ids(found: list) -> list[int]:
    return [one.id for one in found]


def test_the_nearest_come_first_with_their_cosine(store: Store):
    rows = filled(store)
    query = vectors(1, seed=1)[0]
    found = store.search(query, 10, exact=True)
    expected = np.argsort(-(rows @ query))[:10]
    assert ids(found) == expected.tolist()
    np.testing.assert_allclose([one.score for one in found], (rows @ query)[expected], atol=1e-6)


def test_without_exact_a_small_store_misses_nothing(store: Store):
    filled(store)
    query = vectors(1, seed=1)[0]
    assert store.search(query, 10) == store.search(query, 10, exact=True)


def test_lengths_do_not_matter(store: Store):
    rows = filled(store)
    store.upsert([Point(100, rows[7] * 20, {})])
    found = store.search(rows[7] * 0.01, 2)
    assert sorted(ids(found)) == [7, 100]
    np.testing.assert_allclose([one.score for one in found], 1, atol=1e-6)


def test_equal_scores_are_in_order_of_ids(store: Store):
    row = vectors(1)[0]
    store.upsert([Point(id, row, {}) for id in (5, 3, 8, 1)])
    assert ids(store.search(row, 10)) == [1, 3, 5, 8]


def test_a_vector_of_zeros_is_kept(store: Store):
    store.upsert([Point(1, np.zeros(SIZE, np.float32), {}), Point(2, vectors(1)[0], {})])
    assert store.count() == 2
    assert [(one.id, one.score) for one in store.search(vectors(1)[0], 5)][1] == (1, pytest.approx(0))


def test_more_than_there_are_gives_all_and_none_gives_none(store: Store):
    rows = filled(store, 5)
    assert sorted(ids(store.search(rows[0], 100))) == [0, 1, 2, 3, 4]
    assert store.search(rows[0], 0) == []
    assert store.search(rows[0], 3, parse_filter("width > 100")) == []


def test_an_empty_store_finds_nothing(store: Store):
    assert store.search(vectors(1)[0], 5) == []
    assert store.count() == 0
    assert list(store.ids()) == []
    store.upsert([])
    store.delete([])
    store.optimise()
    store.flush()
    assert store.size == SIZE


def test_a_second_upsert_replaces_vector_and_fields(store: Store):
    rows = filled(store)
    store.upsert([Point(7, rows[3], {"camera": "Canon"})])
    assert store.count() == 50
    assert sorted(ids(store.search(rows[3], 2))) == [3, 7]
    assert store.count(parse_filter("camera = Canon")) == 1
    assert store.count(parse_filter("width = 7")) == 0


def test_of_two_with_one_id_the_later_counts(store: Store):
    rows = vectors(2)
    store.upsert([Point(1, rows[0], {"width": 1}), Point(1, rows[1], {"width": 2})])
    assert store.count() == store.count(parse_filter("width = 2")) == 1
    assert store.search(rows[1], 1)[0].score == pytest.approx(1)


def test_what_is_deleted_is_gone_and_what_is_not_there_is_passed_over(store: Store):
    rows = filled(store)
    store.delete([3, 49, 0, 1000, 3])
    assert sorted(store.ids()) == list(store.ids()) == [id for id in range(50) if id not in (0, 3, 49)]
    assert 3 not in ids(store.search(rows[3], 50))
    for id in (4, 48):
        assert ids(store.search(rows[id], 1)) == [id]


def test_large_ids_and_more_points_than_a_request_holds(store: Store):
    rows = vectors(1100)
    points = [Point(2**40 + id, row, {}) for id, row in enumerate(rows)]
    store.upsert(points)
    assert list(store.ids()) == [2**40 + id for id in range(1100)]
    store.delete([point.id for point in points[:1050]])
    assert store.count() == 50


def test_filters_apply_before_the_limit(store: Store):
    rows = filled(store)
    chosen = parse_filter("width >= 40 and path ~ 'ALPS/4'")
    expected = [id for id in np.argsort(-(rows @ rows[0])).tolist() if id >= 40]
    assert ids(store.search(rows[0], 3, chosen)) == expected[:3]
    assert store.count(chosen) == 10
    assert ids(store.search(rows[0], 50, parse_filter("not path ~ 'alps/4'"))) == [
        id for id in np.argsort(-(rows @ rows[0])).tolist() if id != 4 and id < 40
    ]


def test_filters_mean_the_same_everywhere(store: Store):
    row = vectors(1)[0]

    @settings(max_examples=20 if isinstance(store, QdrantStore) else 100)
    @given(given=st.lists(payloads, min_size=1, max_size=5), drawn=st.lists(drawn_filters, min_size=1, max_size=4))
    def agrees(given: list[dict], drawn: list[Drawn]) -> None:
        store.delete(list(store.ids()))
        store.upsert([Point(id, row, payload) for id, payload in enumerate(given)])
        for filter in map(tree, drawn):
            expected = [id for id, payload in enumerate(given) if matches(filter, payload)]
            assert ids(store.search(row, 10, filter)) == expected
            assert store.count(filter) == len(expected)

    agrees()


@pytest.mark.parametrize("field", [field for field, kind in FIELDS.items() if kind == "text"])
def test_every_text_field_finds_parts_of_itself(store: Store, field: str):
    store.upsert([Point(1, vectors(1)[0], {field: "Über den ALPEN/%_.*\\"}), Point(2, vectors(1)[0], {field: "other"})])
    for part in ("über", "ALPEN", "n a", "%_.", ".*\\", "en"):
        assert ids(store.search(vectors(1)[0], 5, Compare(field, "~", part))) == [1], part
    assert store.count(Compare(field, "~", "alpin")) == 0


@pytest.mark.parametrize(
    "point",
    [
        Point(-1, np.ones(SIZE, np.float32), {}),
        Point(1, np.ones(SIZE + 1, np.float32), {}),
        Point(1, np.full(SIZE, np.nan, np.float32), {}),
    ],
)
def test_what_is_no_point_is_refused_and_nothing_of_it_kept(store: Store, point: Point):
    with pytest.raises(ValueError, match=r"negative|shape|finite"):
        store.upsert([Point(5, vectors(1)[0], {}), point])
    assert store.count() == 0
    with pytest.raises(ValueError, match="shape"):
        store.search(np.ones(SIZE + 1, np.float32), 1)


def test_several_threads_may_ask_at_once(store: Store):
    rows = filled(store)
    wrong: list[object] = []

    def ask(start: int) -> None:
        for id in range(start, start + 10):
            found = store.search(rows[id], 1)
            if ids(found) != [id]:
                wrong.append((id, found))

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(0, 50, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("kind", ["memory", "edge"])
def test_a_store_in_a_folder_is_there_again_when_reopened(kind: str, tmp_path: Path):
    first = open_store(kind, tmp_path / "new" / "store", SIZE)
    rows = filled(first)
    first.delete([9])
    first.close()
    first.close()
    second = open_store(kind, tmp_path / "new" / "store", SIZE)
    assert list(second.ids()) == [id for id in range(50) if id != 9]
    assert ids(second.search(rows[4], 1, parse_filter("path ~ 'alps/4.'"))) == [4]
    second.upsert([Point(9, rows[9], {})])
    second.delete([4])
    second.close()
    third = open_store(kind, tmp_path / "new" / "store", SIZE)
    assert third.count() == 49
    assert third.count(parse_filter("width = 4")) == 0
    third.close()
