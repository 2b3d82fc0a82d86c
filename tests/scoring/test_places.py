"""Places are refused before the work, not after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.scoring.engine import choose_device
from crossgraph.scoring.places import check_file, check_folder


def test_a_place_that_does_not_exist_yet_is_fine(tmp_path: Path):
    check_folder(tmp_path / "a" / "b")
    check_file(tmp_path / "a" / "b.npy", ".npy")


def test_a_file_on_the_way_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for check in (
        lambda: check_folder(tmp_path / "file"),
        lambda: check_file(tmp_path / "file" / "x" / "s.npy", ".npy"),
    ):
        with pytest.raises(InputError, match="file: is a file where a folder is wanted"):
            check()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(InputError, match="cannot be written"):
        check_folder(tmp_path / "new")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(InputError, match="no such device"):
        choose_device("cuda")
