"""Places are refused before the work, not after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.files import check_output_file, check_output_folder
from crossgraph.scoring.engine import choose_device


def test_a_place_that_does_not_exist_yet_is_fine(tmp_path: Path):
    check_output_folder(tmp_path / "a" / "b")
    check_output_file(tmp_path / "a" / "b.npy", ".npy")


def test_a_file_on_the_way_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for check in (
        lambda: check_output_folder(tmp_path / "file"),
        lambda: check_output_file(tmp_path / "file" / "x" / "s.npy", ".npy"),
    ):
        with pytest.raises(InputError, match="file: is a file where a folder is wanted"):
            check()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(InputError, match="cannot be written"):
        check_output_folder(tmp_path / "new")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(InputError, match="no such device"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["tpu", "xla", "meta", "cuda:x", "", "cpu,cuda"])
def test_a_name_that_is_no_device_of_ours_is_one_line(name: str):
    with pytest.raises(InputError, match=r"^--device .*: not a device .*: give auto, cpu or cuda$"):
        choose_device(name)


def test_one_accelerator_of_several_can_be_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="cuda:2: PyTorch finds no such device"):
        choose_device("cuda:2")
