"""The loader's memory does not grow with the features it reads; the benchmark does it with 33 GB."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_epoch_over_half_a_gigabyte_grows_anonymous_memory_by_less_than_200_mb(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/loader_memory.py", "--images", "1800", "--fraction", "1"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1,800 pictures from 100% of the file" in done.stdout and "at the peak of 3 processes" in done.stdout
    assert float(re.search(r"grew by (-?\d+) MB", done.stdout)[1]) < 200
