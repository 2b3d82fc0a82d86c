"""Anonymous memory of the training loader over an epoch of a 33 GB feature file, which has no 33 GB to copy.

Run: python benchmarks/loader_memory.py [--fraction 0.1] [--images 113287]

Makes a sparse file of COCO's size (113,287 × 36 × 2048 float32; it takes no room on the disk), then runs the
training loader with two workers twice: once *idle* (everything is open, every worker has given its first
batches, nothing more is read), once through the given fraction of an epoch's batches, whose rows lie all over
the file. RssAnon of the process and its workers is read from /proc twice a second. What counts is the epoch's
peak less the idle run's; page cache and shared memory are printed beside it and do not count. Exit code 1 from
200 MB on.

The whole epoch reads every picture five times (167 GB); the memory is level after the first hundred batches.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

REGIONS, WIDTH, CAPTIONS_EACH = 36, 2048, 5
LIMIT_MB = 200
KINDS = ("RssAnon", "RssFile", "RssShmem")
WORDS = ("a", "man", "woman", "dog", "cat", "red", "ball", "runs", "sits", "on", "in", "the", "street", "park")


class Watch(threading.Thread):
    """Notes the largest resident memory of this process and its children, by kind, in MB."""

    def __init__(self, every: float = 0.5) -> None:
        super().__init__(daemon=True)
        self.peak = dict.fromkeys(KINDS, 0.0)
        self.processes = 0
        self._every, self._stop_now = every, threading.Event()

    def run(self) -> None:
        """Look, again and again."""
        while not self._stop_now.wait(self._every):
            self.look()

    def look(self) -> None:
        """Look once."""
        found = [read_status(process) for process in family("self")]
        self.processes = max(self.processes, len(found))
        for kind in KINDS:
            self.peak[kind] = max(self.peak[kind], sum(status.get(kind, 0.0) for status in found))

    def stop(self) -> None:
        """Look no more."""
        self._stop_now.set()
        self.join()


def family(process: str) -> list[str]:
    """Return a process and all that it started."""
    found = [process]
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended
            found += [grandchild for child in children.read_text().split() for grandchild in family(child)]
    return found


def read_status(process: str) -> dict[str, float]:
    """Return a process's resident memory by kind, in MB; empty when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    values = dict(line.split(":", 1) for line in lines)
    return {kind: int(values[kind].split()[0]) / 1024 for kind in KINDS if kind in values}


def write_sparse(folder: Path, images: int) -> None:
    """Write a precomp train split whose features are one large hole, read as zeros."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (images, REGIONS, WIDTH)}
    with (folder / "train_ims.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + images * REGIONS * WIDTH * 4)
    choice = np.random.default_rng(0).integers(0, len(WORDS), (images * CAPTIONS_EACH, 8))
    with (folder / "train_caps.txt").open("w") as file:
        file.writelines(" ".join(WORDS[word] for word in row) + "\n" for row in choice)


def run_loader(folder: Path, fraction: float, workers: int, batch: int) -> dict[str, float]:
    """Load batches as training does; with fraction 0 only what fills the queues."""
    import torch

    from crossgraph.data import open_data
    from crossgraph.text.vocabulary import Vocabulary
    from crossgraph.train.feed import Feed

    torch.set_num_threads(1)
    split = open_data(folder, log=lambda line: print(line, file=sys.stderr)).split("train")
    feed = Feed(split, Vocabulary.build(WORDS, 1), batch, workers=workers)
    count = max(4 * workers, round(fraction * feed.batches_per_epoch)) if fraction else 4 * workers
    watch = Watch()
    watch.start()
    begun, seen, pictures = time.monotonic(), 0, set[int]()
    batches = feed.batches(0)  # held, so that the workers are alive at the last look
    for done in batches:
        seen += 1
        if fraction:
            pictures.update(done.image_ids.tolist())
        if seen >= count:
            break
    if not fraction:
        time.sleep(2)  # the queues fill
    watch.look()
    del batches
    seconds = time.monotonic() - begun
    watch.stop()
    lowest, highest = (min(pictures), max(pictures)) if pictures else (0, 0)
    return {
        **{kind: round(value, 1) for kind, value in watch.peak.items()},
        "batches": seen,
        "pictures": len(pictures),
        "span": (highest - lowest + 1) / len(split.image_ids),
        "seconds": round(seconds, 1),
        "processes": watch.processes,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=113_287)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--folder", type=Path, help="where to make the sparse file; a temporary folder by default")
    parser.add_argument("--run", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run is not None:
        print(json.dumps(run_loader(given.folder, given.run, given.workers, given.batch)))
        return 0
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_sparse(folder, given.images)
        path = folder / "train_ims.npy"
        print(f"{path.stat().st_size / 1e9:.1f} GB of features, {path.stat().st_blocks * 512 / 1e6:.1f} MB on the disk")
        options = ["--folder", name, "--workers", str(given.workers), "--batch", str(given.batch)]
        results = {}
        for what, fraction in (("idle", 0.0), ("epoch", given.fraction)):
            command = [sys.executable, __file__, *options, "--run", str(fraction)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            results[what] = json.loads(done.stdout.splitlines()[-1])
            values = ", ".join(f"{kind} {results[what][kind]:,.0f} MB" for kind in KINDS)
            print(f"{what}: {values} at the peak of {results[what]['processes']} processes", flush=True)
    epoch = results["epoch"]
    print(
        f"{epoch['batches']:,} batches, {epoch['pictures']:,} pictures from {epoch['span']:.0%} of the file, "
        f"{epoch['seconds']:.0f} s"
    )
    growth = epoch["RssAnon"] - results["idle"]["RssAnon"]
    print(f"anonymous memory grew by {growth:.0f} MB; the limit is {LIMIT_MB} MB")
    return int(growth >= LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
