"""A training killed at any moment, or out of disk, goes on and ends with the same weights bit for bit."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from references.tiny_pairs import write_precomp

from crossgraph.train.checkpoint import load_checkpoint
from crossgraph.train.run_folder import locked

pytestmark = pytest.mark.slow

_RECIPE = """
model: {name: saf, config: {embed_size: 24, word_size: 16, sim_size: 8, dropout: 0.3}}
loss: {negatives: warm-up, warm_up_steps: 10}
regularise: {word_dropout: 0.1, average: 0.9}
evaluate: {every_steps: 7}
checkpoint: {every_steps: 1}
batch: 8
epochs: 4
vocabulary_minimum: 1
log_every: 3
"""  # 60 pictures × 2 captions: 60 steps


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_precomp(tmp_path_factory.mktemp("data") / "tiny_precomp", {"train": 60, "dev": 12})


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "straight"
    finish(data, out)
    return out


@contextlib.contextmanager
def started(data: Path, out: Path, limit: int | None = None, workers: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Start a training that goes on where one stands; it does not outlive the block."""
    recipe = data.with_name("recipe.yaml")
    recipe.write_text(_RECIPE)
    words = ["train", str(recipe), "--data", str(data), "--out", str(out), "--resume", "--device", "cpu"]
    words += [f"--workers={workers}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "crossgraph", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, preexec_fn=restrict, **pipes) as run:
        try:
            yield run
        finally:
            run.kill()


def finish(data: Path, out: Path) -> str:
    with started(data, out) as run:
        said, wrong = run.communicate(timeout=120)
    assert run.returncode == 0, wrong
    return said


def kill_when(data: Path, out: Path, moment: Callable[[], bool], grace: float = 0.0, workers: int = 0) -> None:
    with started(data, out, workers=workers) as run:
        end = time.monotonic() + 60
        while not moment():
            if run.poll() == 0:  # the moment lasts a millisecond, which a busy machine may let pass: nothing was killed
                return
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < end, "the moment never came"
            time.sleep(0.0005)
        time.sleep(grace)
        run.send_signal(signal.SIGKILL)


def steps(out: Path) -> int:
    names = [path.name for path in (out / "checkpoint").glob("step-*")]
    return max((int(name.removeprefix("step-").split(".")[0]) for name in names), default=-1)


def log(out: Path) -> list[list[str]]:
    rows = [line.split(",") for line in (out / "log.csv").read_text().splitlines()]
    apart = [i for i, name in enumerate(rows[0]) if name in ("seconds", "pairs_per_second", "waited_for_data")]
    return [[value for i, value in enumerate(row) if i not in apart] for row in rows]


def assert_same(first: Path, second: Path) -> None:
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    one, two = load_checkpoint(first / "checkpoint"), load_checkpoint(second / "checkpoint")
    assert one is not None and two is not None
    assert one.tensors.keys() == two.tensors.keys()
    assert all((two.tensors[name] == tensor).all() for name, tensor in one.tensors.items())
    assert log(first) == log(second)


def test_kills_at_many_moments(data: Path, straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    checkpoint = out / "checkpoint"
    kill_when(data, out, out.exists)  # before there is anything to go on from
    (out / ".recipe.yaml.k1ll3d_1.tmp").write_bytes(b"model: sg")  # as one leaves it whose recipe was being written
    kill_when(data, out, lambda: steps(out) >= 5 and any(checkpoint.glob(".step-*.tmp")))  # while one is written
    kill_when(data, out, lambda: steps(out) >= 13 and any(out.glob(".model.safetensors.*")))  # while the best is
    before = steps(out)
    kill_when(data, out, lambda: steps(out) > before + 3, grace=0.017, workers=2)  # whose workers live on a while
    assert steps(out) < 60
    assert "all 60 steps are done" in finish(data, out)
    assert_same(straight, out)
    assert not list(checkpoint.glob(".*"))
    assert not list(out.glob(".*.tmp"))


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    fail_for_want_of_room(data, out)
    assert not out.exists()  # nothing was finished
    kill_when(data, out, lambda: steps(out) >= 5)
    before = steps(out)
    fail_for_want_of_room(data, out)
    assert steps(out) == before
    assert not list((out / "checkpoint").glob(".*"))
    assert load_checkpoint(out / "checkpoint") is not None


def fail_for_want_of_room(data: Path, out: Path) -> None:
    with started(data, out, limit=100_000) as run:  # for logs and words, not for weights with their moments
        said, wrong = run.communicate(timeout=120)
    assert run.returncode == 2, wrong
    assert "no room left to write it: free some disk space" in wrong
    assert "Traceback" not in wrong
    assert said == ""


def test_ctrl_c_saves_and_says_what_to_type(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(data, out) as run:
        while steps(out) < 4:
            time.sleep(0.001)
        run.send_signal(signal.SIGINT)
        _, wrong = run.communicate(timeout=60)
    assert run.returncode == 130
    last = wrong.splitlines()[-1]
    assert last.startswith("crossgraph train: stopped: saved at step")
    assert "go on with: crossgraph train" in last and "--resume" in last
    found = load_checkpoint(out / "checkpoint")
    assert found is not None
    assert f"saved at step {found.values['state']['step']} of 60" in last


def test_two_trainings_never_write_one_run(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started(data, out) as run:
        while steps(out) < 1:
            time.sleep(0.001)
        run.send_signal(signal.SIGSTOP)
        with started(data, out) as second:
            _, wrong = second.communicate(timeout=60)
        assert second.returncode == 2
        assert f"another training writes here (process {run.pid})" in wrong
        run.send_signal(signal.SIGCONT)
        run.send_signal(signal.SIGKILL)
    with locked(out):  # a kill leaves no lock
        pass
