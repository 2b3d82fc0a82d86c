"""Pictures a second of indexing with the default region encoder, and where the time goes.

Run: taskset -c 0,1 python benchmarks/index_speed.py MODEL --pictures FOLDER [--count 304] [--large 48]

MODEL is a run or bundle; FOLDER holds photos, which are copied with a changed byte each until there are `count`
of different content. Then as many JPEGs of 12 megapixels as `large` says are drawn and indexed too. Beside the
rate on the clock stands the CPU time a picture, user and system, of all threads: on a busy machine it is the
number to compare, and two cores cannot do better than 2 / CPU seconds a picture.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does, before torch is loaded

import numpy as np
import PIL
import torch
from PIL import Image

from crossgraph.files import write_json
from crossgraph.library.indexer import Settings, index_pictures
from crossgraph.library.library import Library
from crossgraph.memory import keep_freed_memory
from crossgraph.tables import Table
from crossgraph.vision.region_encoder import RegionEncoder, load_region_encoder

GOALS = {"photos": 60, "12 megapixels": 25}
"""Pictures a second on two cores."""


def write_copies(photos: Path, folder: Path, count: int) -> Path:
    """Copy photos under new names, each with bytes of its own behind the picture's end."""
    folder.mkdir(parents=True)
    found = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for number in range(count):
        data = found[number % len(found)].read_bytes()
        (folder / f"{number:05}.jpg").write_bytes(data + number.to_bytes(4, "big"))
    return folder


def write_large(folder: Path, count: int) -> Path:
    """Write JPEGs of 4000 × 3000 with the detail of a photo: noise over several scales."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    layers = [random.normal(0, 1, (3000 // step, 4000 // step, 3)) for step in (500, 100, 20)]
    image = sum(
        np.asarray(Image.fromarray((40 * layer + 128).clip(0, 255).astype(np.uint8)).resize((4000, 3000), 3), np.int16)
        for layer in layers
    )
    base = np.asarray(image, dtype=np.int16) // 3 + random.integers(-8, 8, (3000, 4000, 3), dtype=np.int16)
    for number in range(count):
        turned = np.roll(base, 37 * number, axis=1).clip(0, 255).astype(np.uint8)
        Image.fromarray(turned).save(folder / f"{number:05}.jpg", quality=90)
    return folder


def measure(model: Path, photos: Path, encoder: RegionEncoder, workers: int) -> dict[str, float]:
    """Index a folder into a new library; return rate and CPU time a picture."""
    with tempfile.TemporaryDirectory() as folder, Library(Path(folder) / "library", create=True) as library:
        library.adopt(model, "edge")
        _ = library.bundle
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        outcome = index_pictures(library, [photos], Settings(workers=workers), encoder=encoder)
        seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
        size = library.layout.dtype.itemsize
    count = outcome.pictures
    return {
        "pictures": count,
        "pictures_per_second": round(count / seconds, 1),
        "user_ms_per_picture": round(1000 * (after.ru_utime - before.ru_utime) / count, 2),
        "system_ms_per_picture": round(1000 * (after.ru_stime - before.ru_stime) / count, 2),
        "bytes_of_codes_per_picture": size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--count", type=int, default=304)
    parser.add_argument("--large", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("experiments/index-speed"))
    parser.add_argument("--table", type=Path, help="write the table of a card, and measure nothing")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())))
        return
    if not (given.model and given.pictures):
        parser.error("MODEL or --pictures is missing")
    before = os.getloadavg()[0]
    torch.set_num_threads(given.threads)
    keep_freed_memory()  # as the command does
    with tempfile.TemporaryDirectory() as folder:
        sets = {"photos": write_copies(given.pictures, Path(folder) / "photos", given.count)}
        if given.large:
            sets["12 megapixels"] = write_large(Path(folder) / "large", given.large)
        with Library(Path(folder) / "probe", create=True) as probe:
            probe.adopt(given.model, "memory")
            encoder = load_region_encoder(probe.bundle.region_encoder)
        encoder.encode(torch.zeros(8, encoder.image_size, encoder.image_size, 3, dtype=torch.uint8))
        found = {name: measure(given.model, photos, encoder, given.workers) for name, photos in sets.items()}
    card = {
        "threads": given.threads,
        "workers": given.workers,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": before,
        "load_after": os.getloadavg()[0],
        "nice": os.nice(0),
        "versions": {"torch": torch.__version__, "pillow": PIL.__version__},
        "sets": found,
    }
    write_json(given.out / "card.json", card)
    print(table(card))


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    rows: list[list[str]] = []
    for name, found in card["sets"].items():
        cpu = found["user_ms_per_picture"] + found["system_ms_per_picture"]
        shown = f"{found['user_ms_per_picture']:.1f} user + {found['system_ms_per_picture']:.1f} system"
        rate, goal = found["pictures_per_second"], GOALS[name]
        rows.append([f"{found['pictures']:,} {name}", f"{rate:.0f}", str(goal), shown, f"{2000 / cpu:.0f}"])
    load = f"{card['cores']} cores, load {card['load_before']:.0f} before and {card['load_after']:.0f} after:"
    columns = ["pictures", "a second", "goal", "CPU, ms a picture", "as many a second on two idle cores at most"]
    return f"{load}\n\n{Table(columns, rows).to_markdown(padded=False)}"


if __name__ == "__main__":
    main()
