"""What the benchmarks at scale share: drawn index vectors, the fields of a drawn library, waits and memory.

Index vectors and queries are drawn from clusters: a centre plus noise of the same length, scaled to length 1, so
that two of one cluster have a cosine of about 0.5. Every picture has the fields of a library.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from crossgraph.store.fields import PayloadValue

SIZE, BLOCK, SEED = 512, 10_000, 0
COLUMNS = ("p50", "p95", "p99", "worst")


def drawn(count: int, clusters: int, stream: int) -> np.ndarray:
    """Draw unit vectors from the clusters; the same centres for every stream."""
    centres = np.random.default_rng(SEED).normal(size=(clusters, SIZE)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    draw = np.random.default_rng([SEED, stream])
    rows = centres[draw.integers(0, clusters, count)]
    rows += draw.normal(size=(count, SIZE)).astype(np.float32) / np.float32(np.sqrt(SIZE))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def blocks(count: int, clusters: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, count, BLOCK):
        yield start, drawn(min(BLOCK, count - start), clusters, 1 + start // BLOCK)


def fields(id: int) -> dict[str, PayloadValue]:
    folder = f"photos/alps {id % 100}/{id // 1000}"
    return {
        "path": f"{folder}/IMG_{id:07d}.JPG",
        "name": f"IMG_{id:07d}.JPG",
        "folder": folder,
        "root": "photos",
        "camera": f"Camera {id % 7}",
        "date": f"{2015 + id % 10}-{1 + id % 12:02d}-{1 + id % 28:02d}T12:00:00",
        "width": 3000 + id % 1000,
        "height": 2000,
        "megapixels": 6.0 + id % 10,
        "latitude": 47.0 + id % 100 / 100,
        "longitude": 8.0 + id % 100 / 100,
        "hidden": False,
    }


def timed(ask: Callable[[], object]) -> float:
    """Return the milliseconds that a call takes."""
    start = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - start)


def percentiles(waited: list[float]) -> dict[str, float]:
    found = {f"p{part}": round(float(np.percentile(waited, part)), 2) for part in (50, 95, 99)}
    return {**found, "worst": round(max(waited), 2), "queries": len(waited)}


def filesystem(folder: Path) -> str:
    """Return the kind of file system that a folder is on, as the system calls it: ext2/ext3, tmpfs for memory."""
    found = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], stdout=subprocess.PIPE, text=True, check=True)
    return found.stdout.strip()


def resident(pid: int) -> float:
    """Return the megabytes of a process in memory, pages of files included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)
