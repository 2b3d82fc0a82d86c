"""Time and memory of scoring as each size doubles three times: pictures, captions, words, regions, width d.

python benchmarks/score_growth.py [OUT]     OUT: folder for growth.json and growth.png

Each point scores in a process of its own, so that its largest size is its own; the least of three turns is kept.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

BASE = {"images": 16, "captions": 32, "words": 8, "regions": 12, "d": 256}
FACTORS = (1, 2, 4, 8)
COLOURS = {"images": "#0072B2", "captions": "#E69F00", "words": "#009E73", "regions": "#CC79A7", "d": "#56B4E9"}
MARKERS = {"images": "o", "captions": "s", "words": "^", "regions": "D", "d": "v"}


def point(sizes: dict[str, int], precision: str) -> dict[str, float]:
    """Score once in this process."""
    import numpy as np
    import torch

    from crossgraph.models.base import MODELS, Inputs
    from crossgraph.scoring.benchmark import Setting, draw_codes
    from crossgraph.scoring.blocks import BlockSize
    from crossgraph.scoring.encode import TextBucket
    from crossgraph.scoring.tuning import score_codes

    torch.manual_seed(0)
    family = MODELS["sgr"]
    setting = Setting(sizes["images"], sizes["captions"], sizes["words"], sizes["regions"], 64)
    model = family(family.Config(embed_size=sizes["d"]), Inputs(64, 8000, sizes["regions"])).eval()
    images, texts = draw_codes(model, setting)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    turns = []
    for _ in range(4):
        began = time.process_time()
        score_codes(model, images, [TextBucket(np.arange(sizes["captions"]), texts)], precision, BlockSize())
        turns.append(time.process_time() - began)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(turns[1:]), "grown_mb": (after - before) / 1024}


def measured() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for axis, size in BASE.items():
        for factor in FACTORS:
            sizes = {**BASE, axis: size * factor}
            words = [sys.executable, __file__, "--point", json.dumps(sizes)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            found.setdefault(axis, []).append({"factor": factor, **json.loads(done.stdout)})
            print(axis, factor, found[axis][-1], flush=True)
    return found


def plot(found: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for axis, points in found.items():
        style = {"color": COLOURS[axis], "marker": MARKERS[axis], "label": axis}
        times.plot(FACTORS, [p["seconds"] / points[0]["seconds"] for p in points], **style)
        memory.plot(FACTORS, [p["grown_mb"] for p in points], **style)
    times.plot(FACTORS, FACTORS, color="#777777", linestyle="--", label="linear")
    times.set(xscale="log", yscale="log", title="processor time, times the first", xlabel="size, times the first")
    memory.set(xscale="log", title="memory grown while scoring, MB", xlabel="size, times the first", ylim=(0, None))
    for axes in (times, memory):
        axes.set_xticks(FACTORS, [str(f) for f in FACTORS])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    times.set_yticks(FACTORS, [str(f) for f in FACTORS])
    times.legend(frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    if sys.argv[1:2] == ["--point"]:
        print(json.dumps(point(json.loads(sys.argv[2]), "float32")))
        return
    before = os.getloadavg()[0]
    found = measured()
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        card = {"base": BASE, "load": {"before": before, "after": os.getloadavg()[0]}, "growth": found}
        (folder / "growth.json").write_text(json.dumps(card, indent=2) + "\n")
        plot(found, folder / "growth.png")


if __name__ == "__main__":
    main()
