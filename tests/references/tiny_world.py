"""A folder of pictures with captions, features and boxes, and runs for it: what a report is made from, in a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from references.tiny_run import write_tiny_run

from crossgraph.data.shards import EncoderInfo, Picture, ShardWriter
from crossgraph.vision.boxes import grid_boxes

PICTURES, SIDE, WIDTH = 9, 4, 6
REGIONS = SIDE * SIDE
NASTY = (
    'a </script><script>alert("red")</script> & <img src=x onerror=alert(1)> dog\u2028runs {{ 7 * 7 }} \'over\' "snow"'
)
_THINGS = ["red dog", "green cat", "dog", "cat", "red cat"]
_PLACES = ["runs over the grass", "in the snow", "over the green grass", "in the red snow"]


def write_world(folder: Path, boxes: Literal["grid", "detector"] = "grid", pictures: bool = True) -> Path:
    """Write captions.jsonl, pictures and features of one test split; the first caption tries to break out.

    Args:
        folder: Made.
        boxes: Where the regions lie: 4 × 4 cells, or wherever a detector might see something.
        pictures: Whether the picture files are there.
    """
    random = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    lines: list[str] = []
    encoder = EncoderInfo("tiny", "5" * 64, WIDTH, REGIONS, (SIDE, SIDE) if boxes == "grid" else None)
    with ShardWriter(folder / "features", encoder, 4) as writer:
        names = [f"pictures/{number}.png" for number in range(PICTURES)]
        for number, name in enumerate(names):
            size = (60, 40) if number % 3 else (40, 60)
            if pictures:
                pixels = random.integers(90, 255, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name)
            captions = [
                f"a {_THINGS[number % 5]} {_PLACES[number % 4]}",
                f"the {_THINGS[(number + 2) % 5]} number {number}",
            ]
            lines.append(
                json.dumps(
                    {"image": name, "captions": [NASTY, *captions] if number == 0 else captions, "split": "test"}
                )
            )
            features = 2 * random.standard_normal((REGIONS, WIDTH))
            where = grid_boxes(SIDE, SIDE).numpy() if boxes == "grid" else _boxes(random)
            writer.append(Picture(name, *size, f"{number:064d}"), features, where)
        writer.finish(names, [])
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_run(folder: Path, name: str = "saf", data: Path | None = None, log: bool = True) -> Path:
    """Write a run with random weights that says what it was trained on, with its log."""
    write_tiny_run(folder, name)
    info = json.loads((folder / "run.json").read_text())
    info["command"] = f"crossgraph train tiny --data {data} --out {folder}" if data else ""
    info["chosen_by"] = {"split": "dev", "epoch": 2.0, "step": 40, "rsum": 321.5, "images": 9}
    (folder / "run.json").write_text(json.dumps(info))
    if log:
        rows = [{"event": "train", "step": step, "loss": 3.0 / step} for step in range(5, 45, 5)]
        rows += [{"event": "dev", "step": step, "rsum": 200.0 + step} for step in (20, 40)]
        (folder / "log.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + '\n{"event": "tra')
    return folder


def _boxes(random: np.random.Generator) -> np.ndarray:
    corners = random.uniform(0, 0.7, (REGIONS, 2))
    return np.concatenate([corners, corners + random.uniform(0.1, 0.3, (REGIONS, 2))], axis=1)
