"""A run killed at any moment goes on by the same command and ends as an undisturbed one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossgraph.files import sha256

pytestmark = pytest.mark.slow

_PROGRAM = """
import functools, sys
import references.tiny_regions
from crossgraph.cli.main import main
from crossgraph.data import extraction
extraction.Settings = functools.partial(extraction.Settings, shard_rows=16)
sys.exit(main(sys.argv[1:]))
"""
COUNT, SECONDS = 240, 0.016  # and a shard holds 16: a stop leaves a second or more to go


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    for number in (5, 77, 150):
        (folder / f"{number:03}_bad.jpg").write_text("not a picture")
    return folder


@contextlib.contextmanager
def started(root: Path, photos: Path, out: Path, seconds: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """Start a run that takes so many seconds for a picture; it does not outlive the block."""
    command = [sys.executable, "-c", _PROGRAM, "extract", str(photos), "--out", str(out), "--encoder", "tiny"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root / "tests"),
        "OMP_NUM_THREADS": "1",
        "TINY_SECONDS": str(seconds),
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "--batch-size", "3"], env=environment, text=True, **pipes) as run:
        try:
            yield run
        finally:
            run.kill()


def finish(root: Path, photos: Path, out: Path) -> str:
    with started(root, photos, out) as run:
        said, wrong = run.communicate(timeout=120)
    assert run.returncode == 0, wrong
    return said


def wait_for(out: Path, shards: int) -> None:
    """Wait until so many shards are done."""
    end = time.monotonic() + 120
    while len(list(out.glob("shard-*.json"))) < shards:
        assert time.monotonic() < end, "the run makes no progress"
        time.sleep(0.001)


def outcome(out: Path) -> dict[str, str]:
    assert not list(out.glob("shard-*.json")), "the manifest has replaced the journals"
    assert not list(out.glob(".*.tmp")), "no temporary files are left"
    return {path.name: sha256(path) for path in sorted(out.iterdir()) if path.name != ".lock"}


@pytest.fixture(scope="module")
def undisturbed(root, photos, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    said = finish(root, photos, out)
    assert f"{COUNT} pictures × 4 × 6" in said
    assert said.count("not a picture") == 3
    return outcome(out)


def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(root, photos, undisturbed, tmp_path):
    rng = np.random.default_rng()
    out, kept = tmp_path / "out", 0
    for stop in (1, 5, 10):
        with started(root, photos, out, SECONDS) as run:
            wait_for(out, stop)
            time.sleep(rng.uniform(0, 16 * SECONDS))
            run.kill()
            run.communicate()
        assert run.returncode == -signal.SIGKILL, "it was still running"
        assert not (out / "manifest.json").exists()
        journals = sorted(out.glob("shard-*.json"))
        assert len(journals) > kept, "what was done before the kill is still there"
        kept = len(journals)
        for journal in journals:
            for shard in json.loads(journal.read_text())["shards"]:
                assert sha256(out / shard["file"]) == shard["sha256"], "what is called done is whole"
    assert "were there already" in finish(root, photos, out)
    assert outcome(out) == undisturbed


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(root, photos, undisturbed, tmp_path):
    out = tmp_path / "out"
    with started(root, photos, out, SECONDS) as run:
        wait_for(out, 3)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert said.strip().splitlines()[-1].startswith("crossgraph extract: stopped: ")
    assert "Traceback" not in said
    assert len(list(out.glob("shard-*.json"))) >= 3
    finish(root, photos, out)
    assert outcome(out) == undisturbed


def test_a_second_run_into_the_same_folder_is_refused_and_the_first_goes_on(root, photos, undisturbed, tmp_path):
    out = tmp_path / "out"
    with started(root, photos, out, SECONDS / 4) as first:
        wait_for(out, 1)
        first.send_signal(signal.SIGSTOP)
        with started(root, photos, out) as second:
            _, wrong = second.communicate(timeout=60)
        first.send_signal(signal.SIGCONT)
        assert second.returncode == 2
        assert len(wrong.strip().splitlines()) == 1
        assert "another process" in wrong
        first.communicate(timeout=120)
    assert first.returncode == 0
    assert outcome(out) == undisturbed
