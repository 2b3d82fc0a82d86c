"""What share of its time training waits for data, with features of 33 GB behind a memory map.

Without loader processes a thread reads the next batch. The features are a sparse file of COCO's size, read as zeros,
and the model is the one whose steps are fastest (the mean of the regions at full size), so that a loader has the least
time. The share is the log's own column `waited_for_data`. A hole in a file is no disk: what is measured is the way from
pages to a batch.

python benchmarks/train_waiting.py [--images 113287] [--steps 20] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from loader_memory import REGIONS, WIDTH, write_sparse

from crossgraph.tables import Table

LIMIT = 0.03


def write_dev(folder: Path, pictures: int = 8) -> None:
    import numpy as np

    np.save(folder / "dev_ims.npy", np.random.default_rng(0).random((pictures, REGIONS, WIDTH), dtype=np.float32))
    (folder / "dev_caps.txt").write_text("a dog runs in the park\n" * 5 * pictures)


def train(folder: Path, recipe: str, workers: int, steps: int) -> dict[str, Any]:
    out = folder / f"{recipe}-{workers}"
    settings = [f"--workers={workers}", f"--max_steps={steps}", "--log_every=1", "--evaluate.every_epochs=1000"]
    command = [sys.executable, "-m", "crossgraph", "train", recipe, "--data", str(folder), "--out", str(out)]
    subprocess.run([*command, *settings], check=True)
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["event"] == "train"][2:]  # the first wait for workers to start
    share = statistics.mean(row["waited_for_data"] for row in rows)
    rate = statistics.median(row["pairs_per_second"] for row in rows)
    return {
        "recipe": recipe,
        "workers": workers,
        "steps": len(rows),
        "waited": round(share, 4),
        "pairs_per_second": rate,
    }


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    about = card["about"]
    rows = [
        [run["recipe"], f"{run['pairs_per_second']:,.0f}", run["workers"] or "none: a thread", f"{run['waited']:.1%}"]
        for run in card["runs"]
    ]
    load = f"{about['gigabytes']:g} GB of features, load {about['load_at_the_end']:.0f} at the end:"
    table = Table(["recipe", "pairs/s", "loader processes", "waited for data"], rows)
    return f"{load}\n\n{table.to_markdown(padded=False)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=113_287)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--recipe", action="append")
    parser.add_argument("--workers", action="append", type=int)
    parser.add_argument("--folder", type=Path, help="where to make the sparse file; a temporary folder by default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_sparse(folder, given.images)
        write_dev(folder)
        rows: list[dict[str, Any]] = []
        for recipe in given.recipe or ["vsepp-coco", "sgraf-sgr-coco"]:
            for workers in given.workers or [0, 1, 2]:
                rows.append(train(folder, recipe, workers, given.steps))
                print(json.dumps(rows[-1]), flush=True)
    if given.out:
        about = {"gigabytes": round(given.images * REGIONS * WIDTH * 4 / 1e9, 1), "cores": os.cpu_count()}
        about["load_at_the_end"] = round(os.getloadavg()[0], 1)
        given.out.write_text(json.dumps({"about": about, "command": sys.argv[1:], "runs": rows}, indent=1) + "\n")
    return int(max(row["waited"] for row in rows) >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
