"""Score files: whole or not there, and never believed without a look."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossgraph.core.errors import InputError
from crossgraph.scoring.engine import ScoreBlock
from crossgraph.scoring.score_file import ScoreInfo, open_scores, write_scores

INFO = ScoreInfo([{"run": "r", "model": "tiny"}], "test", "p" * 64, "f" * 64, "tiny", "float32", "cpu")


def rows(scores):
    yield scores[:2]
    yield scores[2:]


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)


def test_what_is_written_is_a_plain_npy(tmp_path: Path, scores):
    write_scores(tmp_path / "scores.npy", rows(scores), scores.shape, INFO)
    loaded = np.load(tmp_path / "scores.npy")
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, scores)


def test_portions_may_come_in_any_order(tmp_path: Path, scores):
    parts = [ScoreBlock(2, 7, scores[2:, 7:]), ScoreBlock(0, 0, scores[:2]), ScoreBlock(2, 0, scores[2:, :7])]
    written = write_scores(tmp_path / "scores.npy", parts, scores.shape, INFO)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), scores)
    assert open_scores(tmp_path / "scores.npy").info == written


def test_what_made_it_is_found_again(tmp_path: Path, scores):
    written = write_scores(tmp_path / "scores.npy", rows(scores), scores.shape, INFO)
    found = open_scores(tmp_path / "scores.npy")
    assert found.info == written
    assert found.remark == ""
    np.testing.assert_array_equal(found.scores, scores)


def test_a_stop_midway_leaves_the_old_file_and_no_other(tmp_path: Path, scores):
    write_scores(tmp_path / "scores.npy", rows(scores), scores.shape, INFO)

    def stopped():
        yield scores[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scores(tmp_path / "scores.npy", stopped(), scores.shape, INFO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.npy", "scores.npy.json"]
    assert open_scores(tmp_path / "scores.npy").info is not None


def test_a_note_about_another_matrix_is_ignored_aloud(tmp_path: Path, scores):
    write_scores(tmp_path / "scores.npy", rows(scores), scores.shape, INFO)
    np.save(tmp_path / "scores.npy", scores + 1)
    found = open_scores(tmp_path / "scores.npy")
    assert found.info is None
    assert "another matrix" in found.remark


@pytest.mark.parametrize("content", ["[]", '{"format_version": 1, "models": []}', '{"format_version": 99}'])
def test_a_foreign_note_is_ignored_aloud(tmp_path: Path, scores, content):
    np.save(tmp_path / "scores.npy", scores)
    (tmp_path / "scores.npy.json").write_text(content)
    assert "ignored" in open_scores(tmp_path / "scores.npy").remark


def test_a_matrix_made_elsewhere_is_welcome(tmp_path: Path, scores):
    np.save(tmp_path / "scores.npy", np.asfortranarray(scores.astype(np.float64)))
    found = open_scores(tmp_path / "scores.npy")
    np.testing.assert_array_equal(found.scores, scores)
    assert "unknown" in found.remark


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, scores: None, "no such file"),
        (lambda path, scores: path.mkdir(), "is a folder"),
        (lambda path, scores: path.write_bytes(b""), "not a NumPy .npy file"),
        (lambda path, scores: path.write_bytes(b"scores"), "not a NumPy .npy file"),
        (lambda path, scores: np.save(path, scores.astype(np.float16)), "float16"),
        (lambda path, scores: np.save(path, scores.astype(np.int64)), "int64"),
        (lambda path, scores: np.save(path, scores > 0), "bool"),
        (lambda path, scores: np.save(path, scores.ravel()), r"shape \(60,\)"),
        (lambda path, scores: np.save(path, scores[:0]), r"shape \(0, 12\)"),
        (lambda path, scores: np.save(path, np.array([{}])), "object"),
        (lambda path, scores: (np.save(path, scores), path.write_bytes(path.read_bytes()[:-9])), "truncated"),
    ],
)
def test_what_is_no_score_matrix_is_refused(tmp_path: Path, scores, make, message):
    make(tmp_path / "scores.npy", scores)
    with pytest.raises(InputError, match=message):
        open_scores(tmp_path / "scores.npy")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("scores", r"must end in \.npy"),
        ("scores.txt", r"name it scores\.npy"),
        ("folder.npy", "is a folder"),
        ("file/x.npy", "is a file"),
    ],
)
def test_a_wrong_place_is_refused_before_the_work(tmp_path: Path, scores, place, message):
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "file").write_text("")

    def never():
        raise AssertionError("the work began")
        yield scores

    with pytest.raises(InputError, match=message):
        write_scores(tmp_path / place, never(), scores.shape, INFO)


def test_a_full_disk_is_told_before_the_first_row(tmp_path: Path, scores, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InputError, match="no room left"):
        write_scores(tmp_path / "scores.npy", rows(scores), scores.shape, INFO)
    assert list(tmp_path.iterdir()) == []


def test_the_note_is_plain_json(tmp_path: Path, scores):
    write_scores(tmp_path / "scores.npy", rows(scores), scores.shape, INFO)
    note = json.loads((tmp_path / "scores.npy.json").read_text())
    assert note["format_version"] == 1
    assert note["models"] == [{"run": "r", "model": "tiny"}]
