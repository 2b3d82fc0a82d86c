"""Checkpoints are whole or not there."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.train import checkpoint as checkpoints
from crossgraph.train.checkpoint import (
    Checkpoint,
    capture_generators,
    load_checkpoint,
    pack_optimiser,
    restore_generators,
    save_checkpoint,
    seed_everything,
    unpack_optimiser,
)


def at(step: int) -> Checkpoint:
    return Checkpoint({"model/x": torch.full((3,), float(step))}, {"state": {"step": step}})


def test_the_newest_is_loaded_and_older_ones_go(tmp_path: Path) -> None:
    for step in (5, 90, 100):
        save_checkpoint(tmp_path, step, at(step))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.values["state"] == {"step": 100}
    assert found.tensors["model/x"].tolist() == [100.0] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000100"]


def test_a_second_checkpoint_of_one_step_replaces_the_first(tmp_path: Path) -> None:
    for best in (1, 2, 3):
        save_checkpoint(tmp_path, 7, Checkpoint({}, {"best": best}))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.values["best"] == 3
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("stage", ["_write", "_sync"])
def test_a_full_disk_keeps_the_previous_one_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    save_checkpoint(tmp_path, 1, at(1))

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, stage, full)
    with pytest.raises(InputError, match=r"step-00000002: no room left.*free some disk space"):
        save_checkpoint(tmp_path, 2, at(2))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.values["state"] == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_what_a_kill_left_half_written_is_ignored_and_removed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, at(1))
    torn = tmp_path / ".step-00000002.tmp"
    torn.mkdir()
    (torn / "state.safetensors").write_bytes(b"half")
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.values["state"] == {"step": 1}
    save_checkpoint(tmp_path, 2, at(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_a_kill_while_the_older_one_was_removed_does_not_matter(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 2, at(2))
    (tmp_path / "step-00000001").mkdir()  # emptied, not yet gone
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.values["state"] == {"step": 2}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("state.safetensors", b"not tensors", "state.safetensors: cannot be read"),
        ("state.json", b'{"format_version": 99}', "checkpoint format 99.*update crossgraph"),
        ("state.json", b"{", "not valid JSON"),
    ],
)
def test_a_broken_one_is_refused_by_name(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    save_checkpoint(tmp_path, 1, at(1))
    (tmp_path / "step-00000001" / file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_an_optimiser_goes_on_as_if_it_had_never_stopped(kind: Any, tmp_path: Path) -> None:
    def stepped(weights: torch.Tensor, optimiser: torch.optim.Optimizer, times: int) -> None:
        for _ in range(times):
            optimiser.zero_grad()
            (weights**2).sum().backward()
            optimiser.step()

    straight = torch.ones(3, requires_grad=True)
    one = kind([straight], lr=0.1, fused=True)
    stepped(straight, one, 2)
    tensors, groups = pack_optimiser(one)
    save_checkpoint(tmp_path, 2, Checkpoint({**tensors, "w": straight}, {"groups": groups}))
    stepped(straight, one, 3)

    found = load_checkpoint(tmp_path)
    assert found is not None
    resumed = found.tensors["w"].clone().requires_grad_()
    other = kind([resumed], lr=0.5, fused=True)
    unpack_optimiser(other, {name: t for name, t in found.tensors.items() if name != "w"}, found.values["groups"])
    stepped(resumed, other, 3)
    assert torch.equal(resumed, straight)


def test_generators_draw_the_same_numbers_again() -> None:
    import random

    import numpy as np

    def draw() -> tuple[float, float, list[float]]:
        return random.random(), float(np.random.normal()), torch.rand(2).tolist()

    seed_everything(4)
    np.random.normal()  # leaves a spare Gaussian in the state
    tensors, values = capture_generators()
    first = draw()
    assert draw() != first
    restore_generators(tensors, values)
    assert draw() == first
