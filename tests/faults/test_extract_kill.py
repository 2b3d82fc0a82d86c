"""A run killed at any moment goes on by the same command and ends as an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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
COUNT = 240


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


def start(root: Path, photos: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _PROGRAM, "extract", str(photos), "--out", str(out), "--encoder", "tiny-slow"]
    environment = {**os.environ, "PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--batch-size", "3"], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def outcome(out: Path) -> dict[str, str]:
    assert not list(out.glob("shard-*.json")), "the manifest has replaced the journals"
    assert not list(out.glob(".*.tmp")), "no temporary files are left"
    return {path.name: sha256(path) for path in sorted(out.iterdir()) if path.name != ".lock"}


@pytest.fixture(scope="module")
def undisturbed(root, photos, tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run = start(root, photos, out)
    said, wrong = run.communicate(timeout=120)
    assert run.returncode == 0, wrong
    assert f"{COUNT} pictures × 4 × 6" in said
    assert said.count("not a picture") == 3
    return outcome(out)


def stop_after(run: subprocess.Popen[str], out: Path, shards: int, signal_number: int) -> int:
    """Stop a run once so many shards have their journal; return how many it left."""
    end = time.monotonic() + 60
    while len(list(out.glob("shard-*.json"))) < shards and run.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    run.send_signal(signal_number)
    return run.wait(timeout=60)


def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(root, photos, undisturbed, tmp_path):
    out, kept = tmp_path / "out", -1
    for stop in (1, 2, 6, 11):
        run = start(root, photos, out)
        code = stop_after(run, out, stop, signal.SIGKILL)
        run.communicate()
        assert code == -signal.SIGKILL, "it was still running"
        assert not (out / "manifest.json").exists()
        journals = sorted(out.glob("shard-*.json"))
        assert len(journals) > kept, "what was done before the kill is still there"
        kept = len(journals)
        for journal in journals:
            for shard in json.loads(journal.read_text())["shards"]:
                assert sha256(out / shard["file"]) == shard["sha256"], "what is called done is whole"
    run = start(root, photos, out)
    said, wrong = run.communicate(timeout=120)
    assert run.returncode == 0, wrong
    assert "were there already" in said
    assert outcome(out) == undisturbed


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(root, photos, undisturbed, tmp_path):
    out = tmp_path / "out"
    run = start(root, photos, out)
    assert stop_after(run, out, 3, signal.SIGINT) == 130
    _, said = run.communicate()
    assert said.strip().splitlines()[-1].startswith("crossgraph extract: stopped: ")
    assert "Traceback" not in said
    assert len(list(out.glob("shard-*.json"))) >= 3
    run = start(root, photos, out)
    run.communicate(timeout=120)
    assert run.returncode == 0
    assert outcome(out) == undisturbed


def test_a_second_run_into_the_same_folder_is_refused_and_the_first_goes_on(root, photos, undisturbed, tmp_path):
    out = tmp_path / "out"
    first = start(root, photos, out)
    end = time.monotonic() + 60
    while not list(out.glob("shard-*.json")) and time.monotonic() < end:
        time.sleep(0.001)
    second = start(root, photos, out)
    _, wrong = second.communicate(timeout=60)
    assert second.returncode == 2
    assert len(wrong.strip().splitlines()) == 1
    assert "another process" in wrong
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert outcome(out) == undisturbed
