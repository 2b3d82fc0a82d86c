"""A bundle of a few numbers, for tests: the tiny run, random weights of what chooses, a made-up calibration."""

from __future__ import annotations

from pathlib import Path

import torch
from references.tiny_run import write_tiny_run

from crossgraph.bundle.bundle import Bundle
from crossgraph.bundle.calibration import Calibration
from crossgraph.bundle.folder import save_bundle
from crossgraph.bundle.head import head_for
from crossgraph.bundle.late_interaction import retriever_for
from crossgraph.bundle.short_list import ShortList
from crossgraph.core.types import Regions
from crossgraph.runs import load_run


def write_tiny_bundle(
    folder: Path, slope: float = 40.0, middle: float = 0.56, share: int = 10, sieve: bool = False
) -> Path:
    """Save one whose scores are a match above `middle`, and whose short list is a share of the gallery."""
    run = load_run(write_tiny_run(folder.parent / f"{folder.name}-run"))
    torch.manual_seed(1)
    regions = Regions(torch.rand(1, 4, 6), torch.ones(1, 4, dtype=torch.bool))
    with torch.no_grad():
        code = run.model.eval().encode_images(regions)
        head, coarse = head_for(code, 8).eval(), retriever_for(code, 4).eval() if sieve else None
    sizes = {0.9: share // 2, 0.99: share}
    calibration = Calibration(slope, -slope * middle, 20, 100, 0.1, 10, 0.01, ((0.1, 0.1, 50), (0.9, 0.9, 50)))
    bundle = Bundle(run.path, run, None, head, ShortList(20, 10, sizes, sizes), calibration, coarse)
    save_bundle(folder, bundle, {})
    return folder
