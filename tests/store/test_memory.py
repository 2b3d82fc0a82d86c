"""The memory engine's file, and how engines are chosen."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from crossgraph.core.errors import InputError
from crossgraph.store import Point, open_store, parse_filter
from crossgraph.store.folder import OwnedError

ROW = np.eye(4, dtype=np.float32)[0]


def test_without_a_folder_nothing_is_kept():
    store = open_store("memory", None, 4)
    store.upsert([Point(1, ROW, {})])
    store.close()
    assert open_store("memory", None, 4).count() == 0


def test_what_was_flushed_is_there_also_when_the_process_is_killed(tmp_path: Path):
    store = open_store("memory", tmp_path, 4)
    store.upsert([Point(1, ROW, {"date": "2020", "caption": ("a", "b"), "width": float("nan"), "path": "\ud800"})])
    store.flush()
    store.upsert([Point(2, ROW, {})])
    store._folder.close()  # as the system does when a process ends
    again = open_store("memory", tmp_path, 4)
    assert list(again.ids()) == [1]
    assert again.count(parse_filter("date = 2020 and caption = b and path = '?' and not width > 0")) == 1
    again.close()


def test_a_broken_file_is_one_line_with_a_remedy_and_gives_the_folder_back(tmp_path: Path):
    store = open_store("memory", tmp_path, 4)
    store.upsert([Point(1, ROW, {})])
    store.close()
    whole = (tmp_path / "points.npz").read_bytes()
    for broken in (whole[:100], b"", b"not a zip", whole.replace(b"ids.npy", b"idz.npy")):
        (tmp_path / "points.npz").write_bytes(broken)
        with pytest.raises(InputError, match=r"points\.npz: broken .*library rebuild"):
            open_store("memory", tmp_path, 4)
    (tmp_path / "points.npz").write_bytes(whole)
    open_store("memory", tmp_path, 4).close()


def test_two_at_once_are_refused(tmp_path: Path):
    store = open_store("memory", tmp_path, 4)
    with pytest.raises(OwnedError, match="open in this process"):
        open_store("memory", tmp_path, 4)
    store.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for kind in ("memory", "edge"):
        with pytest.raises(InputError, match="cannot be written"):
            open_store(kind, tmp_path / "file", 4)


def test_an_unknown_engine_is_refused_with_the_known_ones(tmp_path: Path):
    with pytest.raises(InputError, match="did you mean 'edge'"):
        open_store("edgy", tmp_path, 4)
    with pytest.raises(InputError, match="name a folder"):
        open_store("edge", None, 4)


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [("edge", "qdrant_edge", "search"), ("http://127.0.0.1:6333", "qdrant_client", "qdrant")],
)
def test_an_engine_that_is_not_installed_names_its_extra(
    kind: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"pip install 'crossgraph\[{extra}\]'"):
        open_store(kind, tmp_path, 4)
