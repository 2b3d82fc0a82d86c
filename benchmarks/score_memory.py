"""Anonymous memory of `crossgraph score` as pictures and captions grow: a matrix on the disk, and --top-k.

python benchmarks/score_memory.py [--images 256] [--captions-each 20] [--factors 1 --factors 4] [--out FILE]

Pictures, captions and weights are drawn, and the model is small: what is kept of a pair or a caption would show all the
more. RssAnon of the process is read from /proc ten times a second. Pairs grow with the square of the factor. Exit code
1 where the largest size takes LIMIT_MB more than the smallest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from drawn_pairs import write_run, write_split
from loader_memory import read_status

from crossgraph.tables import Table

LIMIT_MB = 100
REGIONS, WIDTH, EMBED, SIM = 12, 64, 64, 32
WAYS: dict[str, list[str]] = {"matrix": [], "top 10": ["--top-k", "10"]}


def score(run: Path, data: Path, way: str, precision: str) -> dict[str, Any]:
    """Score in a process of its own, and watch it."""
    out = data / ("scores.npz" if WAYS[way] else "scores.npy")
    words = [sys.executable, "-m", "crossgraph", "score", str(run), "--data", str(data), "--out", str(out), *WAYS[way]]
    began, peak = time.monotonic(), {"RssAnon": 0.0, "RssFile": 0.0}
    process = subprocess.Popen([*words, "--precision", precision], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        found = read_status(str(process.pid))
        peak = {kind: max(value, found.get(kind, 0.0)) for kind, value in peak.items()}
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    size = out.stat().st_size / 2**20
    out.unlink()
    return {
        "seconds": round(time.monotonic() - began, 1),
        "anonymous_mb": round(peak["RssAnon"], 1),
        "files_mb": round(peak["RssFile"], 1),
        "written_mb": round(size, 1),
    }


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    rows = [
        [
            f"{point['images']:,} × {point['captions']:,}",
            point["way"],
            f"{point['anonymous_mb']:,.0f} MB",
            f"{point['written_mb']:,.1f} MB",
        ]
        for point in sorted(card["points"], key=lambda point: (point["way"], point["images"]))
    ]
    columns = ["pictures × captions", "kept", "anonymous memory", "written"]
    return Table(columns, rows, text_columns=2).to_markdown(padded=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--captions-each", type=int, default=20)
    parser.add_argument("--factors", type=int, action="append")
    parser.add_argument("--model", default="saf")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--folder", type=Path, help="where files are made and removed; the system's own for such")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    before, points = os.getloadavg()[0], []
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        run = write_run(Path(name) / "run", given.model, WIDTH, EMBED, SIM)
        for factor in given.factors or [1, 2, 4]:
            images = factor * given.images
            data = write_split(Path(name) / str(factor), images, given.captions_each, REGIONS, WIDTH)
            for way in WAYS:
                sizes = {"images": images, "captions": images * given.captions_each, "way": way}
                points.append({**sizes, **score(run, data, way, given.precision)})
                print(json.dumps(points[-1]), flush=True)
    card = {"model": given.model, "precision": given.precision, "cores": os.cpu_count(), "points": points}
    card |= {"load": {"before": round(before, 1), "after": round(os.getloadavg()[0], 1)}}
    if given.out:
        given.out.write_text(json.dumps(card, indent=1) + "\n")
    print(table(card))
    grown = max(
        max(one["anonymous_mb"] for one in points if one["way"] == way)
        - next(one["anonymous_mb"] for one in points if one["way"] == way)
        for way in WAYS
    )
    print(f"anonymous memory grew by {grown:.0f} MB at most; the limit is {LIMIT_MB} MB")
    return int(grown >= LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
