"""Data to make bundles of."""

from __future__ import annotations

from pathlib import Path

import pytest
from references.tiny_run import write_tiny_splits


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of four regions, with captions of drawn words."""
    return write_tiny_splits(tmp_path_factory.mktemp("data"), {"train": 24, "dev": 16})
