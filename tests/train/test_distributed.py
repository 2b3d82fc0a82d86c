"""Two processes with half the batch each are one process with the whole batch."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from crossgraph.models.base import MODELS

SCRIPT = Path(__file__).with_name("one_step.py")
MEASURED = runpy.run_path(str(SCRIPT))["MEASURED"]


def test_every_model_is_measured() -> None:
    assert {name.split()[0] for name in MEASURED} == set(MODELS)


def run(ranks: int, out: Path) -> dict[str, Tensor]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(ranks):
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        if ranks > 1:
            env |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(ranks),
                "LOCAL_WORLD_SIZE": str(ranks),
            }
            env |= {"GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            env |= {"TORCHELASTIC_RUN_ID": "test"}
        command = [sys.executable, str(SCRIPT), str(out)]
        processes.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    return load_file(out)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Loss, gradients and running statistics of one process, and of two with half the batch each."""
    folder = tmp_path_factory.mktemp("steps")
    return run(1, folder / "whole"), run(2, folder / "halves")


@pytest.mark.slow
@pytest.mark.parametrize("model", MEASURED)
def test_two_halves_give_the_loss_and_gradients_of_the_whole(
    model: str, measured: tuple[dict[str, Tensor], dict[str, Tensor]]
) -> None:
    whole, halves = ({k: v for k, v in side.items() if k.startswith(f"{model}.")} for side in measured)
    assert whole.keys() == halves.keys()
    # VSRN's caption decoder adds up the most steps: sums in another order round by 1.0e-5, more or less by processor.
    limit = 2e-5 if model.startswith("vsrn") else 1e-5
    steepest = max(float(tensor.abs().max()) for name, tensor in whole.items() if ".grad." in name)
    for name, expected in whole.items():
        largest = max(0.1, steepest / 10, float(expected.abs().max()))
        if float(expected.abs().max()) < 1e-5 * steepest:
            largest = steepest  # zero by construction (a bias before BatchNorm): what is there is rounding
        torch.testing.assert_close(
            halves[name], expected, rtol=0, atol=limit * largest, msg=lambda m, n=name: f"{n}: {m}"
        )
    gradients = [float(tensor.abs().max()) for name, tensor in whole.items() if ".grad." in name]
    assert sum(largest > 1e-2 for largest in gradients) > 0.5 * len(gradients)
