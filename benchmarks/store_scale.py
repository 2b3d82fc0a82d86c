"""The Edge store at 100,000 or a million pictures: recall, time, disk, memory, latencies; a table and a card.

Run: python benchmarks/store_scale.py [--count 100000] [--queries 1000] [--keep FOLDER]

Index vectors and queries are drawn from 1,000 clusters, see `synthetic.py`. `search_scale.py` takes what is kept.
Recall compares with all vectors, in NumPy. Latencies are what a caller of `EdgeStore.search` waits for 100
neighbours; those "while building" were taken by another thread of this process while `optimise` ran.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import COLUMNS, SIZE, blocks, drawn, fields, filesystem, percentiles, resident, timed

from crossgraph.files import write_json
from crossgraph.store import Point, matches, parse_filter
from crossgraph.store.edge import EdgeSettings, EdgeStore
from crossgraph.store.filter import Filter
from crossgraph.tables import Table

WANTED = 100
FILTERS = {
    "a half: date >= 2020": "date >= 2020",
    "a seventh: camera = 'Camera 3'": "camera = 'Camera 3'",
    "a hundredth: path ~ 'alps 12/'": "path ~ 'alps 12/'",
    "all but that: not path ~ 'alps 12/'": "not path ~ 'alps 12/'",
}


@dataclass
class Card:
    """What was measured; seconds, milliseconds and megabytes."""

    pictures: int
    queries: int
    clusters: int
    settings: dict[str, int]
    machine: dict[str, object]
    seconds: dict[str, float] = field(default_factory=dict)
    disk_mb: float = 0.0
    memory_mb: dict[str, float] = field(default_factory=dict)
    recall: dict[str, dict[str, float]] = field(default_factory=dict)
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    throughput: dict[str, float] = field(default_factory=dict)


def nearest(queries: np.ndarray, card: Card, where: Filter | None = None) -> list[set[int]]:
    """Find the true neighbours block by block."""
    ids, scores = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    for start, rows in blocks(card.pictures, card.clusters):
        fit = [row for row in range(len(rows)) if where is None or matches(where, fields(start + row))]
        ids = np.hstack([ids, np.tile(np.array(fit, np.int64) + start, (len(queries), 1))])
        scores = np.hstack([scores, queries @ rows[fit].T])
        if scores.shape[1] > WANTED:
            best = np.argpartition(-scores, WANTED, axis=1)[:, :WANTED]
            ids, scores = np.take_along_axis(ids, best, 1), np.take_along_axis(scores, best, 1)
    return [set(row.tolist()) for row in ids]


def fill(store: EdgeStore, card: Card) -> None:
    for start, rows in blocks(card.pictures, card.clusters):
        points = [Point(start + row, vector, fields(start + row)) for row, vector in enumerate(rows)]
        card.seconds["upsert"] = (
            card.seconds.get("upsert", 0) + timed(lambda points=points: store.upsert(points)) / 1000
        )
    card.seconds["flush"] = timed(store.flush) / 1000


def build(store: EdgeStore, card: Card, queries: np.ndarray) -> None:
    """Build the index while another thread searches, as a server's clients would.

    It rests three times as long as a search took, so that clients have no more than a quarter of a core: without an
    index each looks at every vector, and a million of them would leave the build half of the machine.
    """
    waited: list[float] = []
    done = threading.Event()

    def client() -> None:
        while not done.wait(max(0.02, 3 * waited[-1] / 1000)):
            waited.append(timed(lambda: store.search(queries[len(waited) % len(queries)], WANTED)))

    waited.append(timed(lambda: store.search(queries[0], WANTED)))
    thread = threading.Thread(target=client)
    thread.start()
    try:
        card.seconds["index"] = timed(store.optimise) / 1000
    finally:
        done.set()
        thread.join()
    card.latency_ms["while building the first index"] = percentiles(waited)


def rebuild(store: EdgeStore, card: Card, queries: np.ndarray) -> None:
    """Add what is worth an index, so that it is built again while clients search one."""
    more = card.settings["plain_kilobytes"] * 1024 // (4 * SIZE) + 1
    rows = drawn(more, card.clusters, 10**6)
    store.upsert([Point(card.pictures + row, vector, {}) for row, vector in enumerate(rows)])
    kept = dict(card.latency_ms), card.seconds["index"]
    build(store, card, queries)
    again = card.latency_ms["while building the first index"]
    card.seconds[f"index again, {more:,} more"] = card.seconds["index"]
    card.latency_ms, card.seconds["index"] = kept
    card.latency_ms["while building again"] = again
    store.delete(range(card.pictures, card.pictures + more))


def ask(store: EdgeStore, card: Card, queries: np.ndarray) -> None:
    """Measure every way to ask, one client."""
    ways = {"100 nearest": ("", queries)}
    ways |= {f"100 nearest, {name}": (text, queries[:100]) for name, text in FILTERS.items()}
    for name, (text, some) in ways.items():
        where = parse_filter(text) if text else None
        true = nearest(some, card, where)
        found = [{one.id for one in store.search(query, WANTED, where)} for query in some]
        recalls = [len(mine & its) / len(its) for mine, its in zip(found, true, strict=True)]
        card.recall[name] = {"mean": round(statistics.fmean(recalls), 4), "worst": min(recalls)}
        card.latency_ms[name] = percentiles([timed(lambda q=q, w=where: store.search(q, WANTED, w)) for q in some])
    waited = [timed(lambda q=q: store.search(q, WANTED, exact=True)) for q in queries[:20]]
    card.latency_ms["100 nearest, exact"] = percentiles(waited)


def crowd(store: EdgeStore, card: Card, queries: np.ndarray, clients: int = 8) -> None:
    """Let several clients ask at once."""
    waited: list[float] = []

    def client(first: int) -> None:
        waited.extend(timed(lambda q=q: store.search(q, WANTED)) for q in queries[first::clients])

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    taken = timed(lambda: ([one.start() for one in threads], [one.join() for one in threads])) / 1000
    card.latency_ms[f"100 nearest, {clients} clients"] = percentiles(waited)
    card.throughput[f"{clients} clients, searches a second"] = round(len(waited) / taken, 1)


def measure(card: Card, folder: Path, queries: np.ndarray, settings: EdgeSettings, again: bool) -> None:
    store = EdgeStore(folder / "store", SIZE, settings)
    fill(store, card)
    build(store, card, queries)
    print(f"indexed in {card.seconds['index']:.0f} s", flush=True)
    ask(store, card, queries)
    crowd(store, card, queries)
    card.memory_mb = {"engine": resident(store.pid), "caller": resident(os.getpid())}
    card.seconds["close"] = timed(store.close) / 1000
    card.disk_mb = round(sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file()) * 512 / 2**20, 1)
    started = time.perf_counter()
    store = EdgeStore(folder / "store", SIZE, settings)
    card.seconds["reopen"] = time.perf_counter() - started
    card.latency_ms["first after reopening"] = percentiles([timed(lambda: store.search(queries[0], WANTED))])
    if again:
        rebuild(store, card, queries)
    store.close()
    card.seconds = {name: round(value, 2) for name, value in card.seconds.items()}


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    machine, memory = card["machine"], card["memory_mb"]
    load = f"load {machine['load_before']:.0f} before, {machine['load_after']:.0f} after, nice {machine['nice']}"
    about = f"{card['pictures']:,} pictures of {SIZE} values, {machine['cores']} cores, {load}"
    disk = f"{card['disk_mb']:,.0f} MB, {1e6 * card['disk_mb'] / card['pictures'] / 1e3:.1f} kB a picture"
    costs = [
        *([name, f"{value:,.1f} s"] for name, value in card["seconds"].items()),
        ["disk", disk],
        ["memory, pages of files included", f"engine {memory['engine']:,.0f} MB, caller {memory['caller']:,.0f} MB"],
        *([name, f"{value:,.0f}"] for name, value in card["throughput"].items()),
    ]
    searches: list[list[str]] = []
    for name, latency in card["latency_ms"].items():
        recall = f"{card['recall'][name]['mean']:.4f}" if name in card["recall"] else ""
        searches.append([name, recall, *(f"{latency[key]:.1f}" for key in COLUMNS)])
    tables = [Table([about, ""], costs), Table(["searches", "recall", "p50", "p95", "p99", "worst, ms"], searches)]
    return "\n\n".join(table.to_markdown(padded=False) for table in tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("experiments/store-scale"))
    parser.add_argument("--folder", type=Path, help="where the store is made and removed; the system's own for such")
    for name, value in asdict(EdgeSettings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--again", action="store_true", help="also add what is worth an index, and build it once more")
    either.add_argument("--keep", type=Path, help="where the store is left, for search_scale.py; a new folder")
    parser.add_argument("--table", type=Path, help="write the table of a card, and measure nothing")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())))
        return
    settings = EdgeSettings(**{name: getattr(given, name) for name in asdict(EdgeSettings())})
    machine = {
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "nice": os.nice(0),
        "python": platform.python_version(),
        "qdrant-edge-py": importlib.metadata.version("qdrant-edge-py"),
    }
    card = Card(given.count, given.queries, given.clusters, asdict(settings), machine)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        card.machine["files"] = filesystem(Path(folder))
        measure(card, Path(folder), drawn(given.queries, given.clusters, 0), settings, given.again)
        if given.keep:
            shutil.move(Path(folder) / "store", given.keep)
    card.machine["load_after"] = os.getloadavg()[0]
    name = f"{given.count}" if given.clusters == 1000 else f"{given.count}-{given.clusters}-clusters"
    write_json(given.out / f"{name}.json", asdict(card))
    print(table(asdict(card)))


if __name__ == "__main__":
    main()
