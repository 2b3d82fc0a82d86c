"""COCO's 5,000 × 25,000 scores, half a gigabyte on disk, are evaluated in little memory."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crossgraph.evaluate.matrices import Mean
from crossgraph.evaluate.protocol import Protocol, evaluate_scores
from crossgraph.scoring.score_file import open_scores

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20
OWNER = np.arange(25_000) // 5


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("large") / "scores.npy"
    file = np.lib.format.open_memmap(path, "w+", np.float32, (5_000, 25_000))
    random = np.random.default_rng(0)
    for start in range(0, 5_000, 250):
        rows = random.standard_normal((250, 25_000), dtype=np.float32)
        rows[OWNER[5 * start : 5 * start + 1250] - start, np.arange(5 * start, 5 * start + 1250)] += 3
        file[start : start + 250] = rows
    file.flush()
    yield path
    path.unlink()


class Memory:
    """The most anonymous memory this process held beyond what it began with; pages of a map do not count."""

    def __enter__(self) -> Memory:
        self.start, self.most, self._on = self.now(), 0, True
        self._watch = threading.Thread(target=self.watch)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False
        self._watch.join()

    def watch(self) -> None:
        while self._on:
            self.most = max(self.most, self.now() - self.start)
            time.sleep(0.005)

    @staticmethod
    def now() -> int:
        return 1024 * int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize("members", [1, 2])
def test_memory_stays_far_below_the_matrix(large: Path, members: int):
    scores = open_scores(large).scores
    begun = time.monotonic()
    with Memory() as memory:
        evaluation = evaluate_scores(Mean([scores] * members) if members > 1 else scores, OWNER, Protocol(slices=5))
    assert memory.most < 250 * MEGABYTE
    assert time.monotonic() - begun < 120
    assert evaluation.whole.images == 5_000
    assert evaluation.slice_mean is not None
    assert evaluation.slice_mean.rsum > evaluation.whole.rsum > 0
