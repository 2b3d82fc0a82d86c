"""Published checkpoints are read without being trusted; whatever else comes is one line."""

from __future__ import annotations

import argparse
import pickle

import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint


@pytest.fixture
def checkpoint(goldens):
    return torch.load(goldens / "sgraf" / "sgr_bigru.pth", weights_only=True)


class Evil:
    """Would create a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def imported(path):
    file = read_checkpoint(path)
    return IMPORTERS["sgraf"](file.states, file.options, str(path)).build(str(path))


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_a_file_is_run(tmp_path, checkpoint, legacy):
    path, victim = tmp_path / "evil.pth", tmp_path / "made-by-pickle"
    torch.save({**checkpoint, "extra": Evil(victim)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match="refused"):
        read_checkpoint(path)
    assert not victim.exists()


def test_a_plain_pickle_is_refused(tmp_path):
    path, victim = tmp_path / "plain.pth", tmp_path / "made-by-pickle"
    path.write_bytes(pickle.dumps({"model": Evil(victim)}))
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not victim.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_one_line(tmp_path, goldens, share):
    for name in ("sgr_bigru.pth", "sgr_bigru_namespace_legacy.pth.tar"):
        whole = (goldens / "sgraf" / name).read_bytes()
        path = tmp_path / name
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"not a checkpoint at all", b"\x80\x02}q\x00.", b"PK\x03\x04"])
def test_other_files_are_one_line(tmp_path, content):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "nothing.pth", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    "layout, words",
    [
        ({"weights": 1}, "no entry 'model'"),
        ([1, 2], "no entry 'model'"),
        ({"model": [1, 2, 3]}, "not a list of state dicts"),
        ({"model": "weights"}, "not a list of state dicts"),
    ],
)
def test_other_layouts_are_refused(tmp_path, layout, words):
    torch.save(layout, tmp_path / "file.pth")
    with pytest.raises(InputError, match=words):
        read_checkpoint(tmp_path / "file.pth")


def test_saved_from_several_gpus_reads_the_same(tmp_path, checkpoint):
    wrapped = [{f"module.{key}": value for key, value in state.items()} for state in checkpoint["model"]]
    torch.save({**checkpoint, "model": wrapped, "opt": argparse.Namespace(**checkpoint["opt"])}, tmp_path / "file.pth")
    assert imported(tmp_path / "file.pth").config.steps == 3


def changed(checkpoint, place, key, value):
    states = [dict(state) for state in checkpoint["model"]]
    if value is None:
        del states[place][key]
    else:
        states[place][key] = value
    return {**checkpoint, "model": states}


@pytest.mark.parametrize(
    "place, key, value, words",
    [
        (0, "fc.weight", None, "lacks"),
        (1, "cap_rnn.weight_hh_l0", None, "lacks"),
        (2, "sim_eval_w.weight", torch.zeros(3, 3), "shape"),
        (2, "surprise.weight", torch.zeros(3), "does not know the tensor 'surprise.weight'"),
        (0, "fc.weight", torch.full((32, 64), float("nan")), "NaN"),
        (2, "SGR_module.7.graph_query_w.weight", torch.zeros(8, 8), "."),
        (2, "SAF_module.attn_sim_w.weight", torch.zeros(1, 8), "both an SGR and a SAF head"),
        (2, "sim_tranloc_w.weight", torch.zeros(()), "."),
    ],
)
def test_a_tensor_missing_unknown_misshapen_or_nan_is_named(tmp_path, checkpoint, place, key, value, words):
    torch.save(changed(checkpoint, place, key, value), tmp_path / "file.pth")
    with pytest.raises(InputError, match=words) as caught:
        imported(tmp_path / "file.pth")
    assert str(tmp_path / "file.pth") in str(caught.value)


def test_two_or_no_state_dicts_are_refused(tmp_path, checkpoint):
    for states in (checkpoint["model"][:2], []):
        torch.save({**checkpoint, "model": states}, tmp_path / "file.pth")
        with pytest.raises(InputError):
            imported(tmp_path / "file.pth")
