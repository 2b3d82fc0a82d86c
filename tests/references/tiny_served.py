"""A library of a few drawn pictures with the tiny model, ready to be served; and a server as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from references.tiny_run import write_tiny_run

from crossgraph.bundle.calibration import Calibration
from crossgraph.library.indexer import index_pictures
from crossgraph.library.library import Library
from crossgraph.serve.service import Service

COUNT = 12
"""Pictures of different content; one of them lies in two places, one is turned by EXIF."""
TURNED = "turned.jpg"
SETUP = "import references.tiny_regions, sys; from crossgraph.cli.main import main; sys.exit(main(sys.argv[1:]))"


def draw(folder: Path, count: int = COUNT - 1, seed: int = 0) -> Path:
    """Draw pictures that no two of look alike."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(seed)
    for number in range(count):
        coarse = dice.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((64, 48), Image.Resampling.NEAREST)
        picture.save(folder / f"{number:02d}.png")
    return folder


def draw_special(folder: Path) -> None:
    """Draw a picture that EXIF turns, with a date, and a copy of the first."""
    dice = np.random.default_rng(99)
    turned = Image.fromarray(dice.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (80, 40), Image.Resampling.NEAREST
    )
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "Camera of Tests"
    exif.get_ifd(0x8769)[0x9003] = "2021:05:03 12:30:00"
    turned.save(folder / TURNED, exif=exif)
    (folder / "copy.png").write_bytes((folder / "00.png").read_bytes())


def make_library(folder: Path, pictures: Path | None, engine: str = "memory") -> Path:
    """Make a library with the tiny model, of some pictures or of none."""
    run = write_tiny_run(folder.parent / f"{folder.name}-run")
    with Library(folder, create=True) as library:
        library.adopt(run, engine)
        if pictures is not None:
            index_pictures(library, [pictures])
    return folder


def calibration() -> Calibration:
    """Return a curve that calls every second tiny score a match."""
    return Calibration(8.0, 0.0, 100, 1000, 0.01, 100, 0.01, ())


class Served:
    """`crossgraph serve` as a process of its own.

    Args:
        library: Its folder.
        options: Further ones.
        environment: Further variables.
    """

    def __init__(self, library: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        tests, root = Path(__file__).parent.parent, Path(__file__).parent.parent.parent
        paths = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", str(root / "src"))])
        command = [sys.executable, "-c", SETUP, "serve", "--library", str(library), "--port", "0", *options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **(environment or {})},
        )
        assert self.process.stdout is not None
        self.library = library
        self.said: str | None = None
        timer = threading.Timer(120, self.process.kill)
        timer.start()
        self.line = self.process.stdout.readline()
        timer.cancel()
        found = re.search(r"at (http://\S+?)/(?:\?token=(\S+))?\s", self.line)
        self.address, self.token = (found[1], found[2] or "") if found else ("", "")

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *raised: object) -> None:
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGINT, patience: float = 60.0) -> tuple[int, str]:
        """Send a signal; return the exit code and what was said on standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        if self.said is None:
            try:
                _, self.said = self.process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                _, self.said = self.process.communicate()
        return self.process.returncode, self.said


def service_of(client: Any) -> Service:
    """Return what an application in this process serves."""
    return client.app.state.service


def problem(response: Any, status: int) -> dict[str, Any]:
    """Check that an answer is a problem document; return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert {"type", "title", "status", "detail", "remedy"} <= set(document)
    assert "Traceback" not in response.text
    return document


def serve_and_fail(library: Path, options: Sequence[str]) -> tuple[int, str]:
    """Run a server that is expected not to start; return exit code and standard error."""
    with Served(library, *options) as served:
        assert not served.line
        return served.end(signal.SIGTERM)
