"""Data to make bundles of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from references.tiny_run import WORDS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of four regions, whose captions name their number's words."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, count in (("train", 24), ("dev", 16)):
        np.save(folder / f"{split}_ims.npy", random.standard_normal((count, 4, 6)).astype(np.float32))
        captions = [" ".join(random.choice(WORDS, 5)) for _ in range(5 * count)]
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
    return folder
