"""The whole way of a search at 100,000 or a million pictures, with 100 of them re-ranked: percentiles, and what limits.

    python benchmarks/store_scale.py --count 100000 --keep STORE
    python benchmarks/search_scale.py --count 100000 --store STORE [--regions 49 --embed 256 --sim 128]

The library is a real one: manifest, store and records of region codes, asked through `Searcher.search`. Index vectors
are those of `store_scale.py`, of 512 values from 1,000 clusters. The model is a SAF of random weights and the sizes
named; a query's sentence of ten words goes through its text encoder, and then its index vector is replaced by one from
the clusters, since an untrained head knows none. Region codes are drawn for `--coded` pictures, and pictures share
them: which ones are re-ranked does not change how long it takes, as long as the codes lie in memory, as they do here.
"codes from disk" drops them from memory before every query; where --folder is itself memory (tmpfs) it is left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import mmap
import os
import platform
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from synthetic import COLUMNS, SIZE, blocks, drawn, fields, filesystem, percentiles, resident, timed

from crossgraph.bundle.bundle import Bundle, EncodedText
from crossgraph.bundle.calibration import Calibration
from crossgraph.bundle.folder import save_bundle
from crossgraph.bundle.head import head_for
from crossgraph.bundle.short_list import ShortList
from crossgraph.core.types import ImageCode
from crossgraph.files import write_json
from crossgraph.library.library import Library
from crossgraph.library.manifest import Manifest, RecordPosition
from crossgraph.library.records import ROWS, Layout, pack
from crossgraph.models.base import MODELS, Inputs
from crossgraph.runs import RunInfo, describe_model, load_run, save_run
from crossgraph.search import Query, Searcher
from crossgraph.store import Point, Store, parse_filter
from crossgraph.store.fields import PayloadValue
from crossgraph.tables import Table
from crossgraph.text.vocabulary import Vocabulary

SHORT, HITS, WORDS, WORDS_A_QUERY = 100, 20, 8_000, 10
GOALS = {100_000: 60.0, 1_000_000: 150.0}
FILTER = "date >= 2020"


@dataclass
class Card:
    """What was measured; milliseconds, megabytes, kilobytes a picture."""

    pictures: int
    queries: int
    model: dict[str, int]
    coded: int
    short_list: int
    machine: dict[str, object]
    kilobytes_of_codes: float = 0.0
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    cpu_ms: dict[str, float] = field(default_factory=dict)
    parts_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    throughput: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn(Bundle):
    """The bundle, whose sentences fall where pictures are: each query's index vector is drawn from the clusters."""

    queries: tuple[np.ndarray, ...] = ()
    alone: bool = False

    @property
    def kind(self) -> Literal["independent", "two-stage"]:
        """Say that the index score is final, where re-ranking is left out."""
        return "independent" if self.alone else "two-stage"

    def encode_text(self, sentence: str) -> EncodedText:
        """Encode a sentence, and put a drawn index vector in its place."""
        encoded = super().encode_text(sentence)
        return dataclasses.replace(encoded, index=self.queries[hash(sentence) % len(self.queries)])


def write_model(folder: Path, card: Card) -> Path:
    """Save a bundle of random weights and the card's sizes."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(["<pad>", "<start>", "<end>", "<unk>", *(f"word{number}" for number in range(WORDS))])
    saf = MODELS["saf"]
    sizes = card.model
    config = saf.Config(embed_size=sizes["embed"], sim_size=sizes["sim"])
    model = saf(config, Inputs(sizes["feature"], len(vocabulary)))
    save_run(folder / "run", model, vocabulary, RunInfo("saf", **describe_model(model), region_encoder="drawn"))
    run = load_run(folder / "run")
    head = head_for(codes(1, sizes, 0), SIZE)
    asked = {0.99: card.short_list}
    calibration = Calibration(10.0, -5.0, card.pictures, 100, 0.1, card.short_list, 0.0, ((0.1, 0.1, 100),))
    bundle = Bundle(run.path, run, None, head, ShortList(card.pictures, 1, asked, asked), calibration)
    return save_bundle(folder / "bundle", bundle, {}).path


def codes(count: int, sizes: dict[str, int], stream: int) -> ImageCode:
    """Draw region codes as SAF has them: unit vectors, all regions real."""
    torch.manual_seed(stream)
    local, overall = torch.randn(count, sizes["regions"], sizes["embed"]), torch.randn(count, sizes["embed"])
    mask = torch.ones(count, sizes["regions"], dtype=torch.bool)
    unit = torch.nn.functional.normalize
    return ImageCode(unit(local, dim=-1), mask, parts={"global": unit(overall, dim=-1)})


def write_codes(library: Library, card: Card) -> None:
    """Write the records that pictures share."""
    index = np.zeros((ROWS, SIZE), np.float32)
    layout = Layout.of(index, codes(1, card.model, 0))
    library.manifest.remember({"layout": layout.to_json(), "generation": "0"})
    library.unload_model()
    card.kilobytes_of_codes = round(layout.dtype.itemsize / 1024, 2)
    for start in range(0, card.coded, ROWS):
        count = min(ROWS, card.coded - start)
        records = pack(layout, index[:count], codes(count, card.model, start))
        library.shards.append(records, RecordPosition(0, start // ROWS, 0))


def write_manifest(manifest: Manifest, card: Card) -> None:
    """Write a row for every picture and its file."""
    root = manifest.add_root(Path("/photos"))
    pictures = (
        "INSERT INTO pictures (id, sha256, width, height, orientation, date, camera, state, generation, shard, row, "
        "added) VALUES (?, ?, ?, ?, 1, ?, ?, 'ready', 0, ?, ?, '')"
    )
    files = "INSERT INTO files VALUES (?, ?, ?, 1000000, 0)"
    for start in range(0, card.pictures, 50_000):
        some = range(start, min(start + 50_000, card.pictures))
        known = {number: fields(number) for number in some}
        with manifest.transaction() as connection:
            connection.executemany(pictures, (_row(number, own, card) for number, own in known.items()))
            connection.executemany(files, ((f"/{own['path']}", root, number) for number, own in known.items()))


def _row(number: int, own: Mapping[str, PayloadValue], card: Card) -> tuple[object, ...]:
    facts = own["width"], own["height"], own["date"], own["camera"]
    return (number, f"{number:064x}", *facts, *divmod(number % card.coded, ROWS))


def fill(store: Store, card: Card) -> None:
    """Fill a store, where none was kept."""
    for start, rows in blocks(card.pictures, 1000):
        store.upsert([Point(start + row, vector, fields(start + row)) for row, vector in enumerate(rows)])
    store.optimise()


def prepare(folder: Path, card: Card, store: Path | None) -> Library:
    """Make the library."""
    library = Library(folder / "library", create=True)
    library.adopt(write_model(folder, card), "edge")
    write_codes(library, card)
    write_manifest(library.manifest, card)
    if store:
        shutil.copytree(store, folder / "library" / "store", dirs_exist_ok=True)
    else:
        fill(library.store, card)
    queries = tuple(drawn(card.queries, 1000, 0))
    values = {item.name: getattr(library.bundle, item.name) for item in dataclasses.fields(Bundle)}
    library.__dict__["bundle"] = Drawn(**values, queries=queries)
    return library


def sentences(count: int) -> list[str]:
    dice = random.Random(0)
    return [" ".join(f"word{dice.randrange(WORDS)}" for _ in range(WORDS_A_QUERY)) for _ in range(count)]


def ask(searcher: Searcher, card: Card, texts: Sequence[str], name: str, where: str = "") -> None:
    """Measure one way to ask, and where its time went."""
    condition = parse_filter(where) if where else None
    waited: list[float] = []
    parts: dict[str, list[float]] = {}
    before = _cpu(searcher)
    for text in texts:
        begun = time.perf_counter()
        timings = searcher.search(Query(text, where=condition, k=HITS)).timings
        waited.append(1000 * (time.perf_counter() - begun))
        own = asdict(timings)
        own["rest"] = own.pop("total") - sum(own[part] for part in ("encode", "nearest", "rerank"))
        for part, value in own.items():
            parts.setdefault(part, []).append(value)
    card.latency_ms[name] = percentiles(waited)
    card.cpu_ms[name] = round(1000 * (_cpu(searcher) - before) / len(texts), 1)
    card.parts_ms[name] = {part: round(float(np.median(values)), 2) for part, values in parts.items()}


def _cpu(searcher: Searcher) -> float:
    """Return the seconds of processor time that this process and the store's have taken."""
    spent = Path(f"/proc/{searcher.library.store.pid}/stat").read_text().rpartition(")")[2].split()  # pyright: ignore
    return time.process_time() + sum(map(int, spent[11:13])) / os.sysconf("SC_CLK_TCK")


def inside(searcher: Searcher, card: Card, texts: Sequence[str]) -> None:
    """Measure the parts that the timings hold together, by the same calls."""
    library, bundle = searcher.library, searcher.bundle
    parts: dict[str, list[float]] = {}

    def note(name: str, begun: float) -> float:
        now = time.perf_counter()
        parts.setdefault(name, []).append(1000 * (now - begun))
        return now

    for text in texts:
        encoded = bundle.encode_text(text)
        now = time.perf_counter()
        library.count()
        now = note("nearest: pictures counted", now)
        near = [one.id for one in library.store.search(encoded.index, card.short_list)]
        now = note("nearest: store", now)
        library.manifest.positions(near)
        now = note("nearest: places of codes", now)
        code = library.codes(near)
        now = note("rerank: codes read", now)
        bundle.score(encoded.code, code)
        now = note("rerank: scored", now)
    card.parts_ms["inside"] = {name: round(float(np.median(values)), 2) for name, values in parts.items()}


def from_disk(searcher: Searcher, card: Card, texts: Sequence[str]) -> None:
    """Measure with codes that are not in memory."""
    waited: list[float] = []
    for text in texts:
        for mapped in searcher.library.shards._maps.values():
            mapped.bytes.madvise(mmap.MADV_DONTNEED)
        for path in searcher.library.shards.folder.iterdir():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
        waited.append(timed(lambda text=text: searcher.search(Query(text, k=HITS))))
    card.latency_ms[f"{card.short_list} re-ranked, codes from disk"] = percentiles(waited)


def crowd(searcher: Searcher, card: Card, texts: Sequence[str], clients: int = 8) -> None:
    """Let several clients ask at once, as many at a time as a server of two cores lets: two, of a thread each."""
    waited: list[float] = []
    pool = ThreadPoolExecutor(os.cpu_count(), initializer=lambda: torch.set_num_threads(1))

    def search(text: str) -> None:
        pool.submit(searcher.search, Query(text, k=HITS)).result()

    def client(first: int) -> None:
        waited.extend(timed(lambda text=text: search(text)) for text in texts[first::clients])

    for future in [pool.submit(searcher.search, Query(text, k=HITS)) for text in texts[:20]]:
        future.result()

    threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
    taken = timed(lambda: ([one.start() for one in threads], [one.join() for one in threads])) / 1000
    name = f"{card.short_list} re-ranked, {clients} clients"
    card.latency_ms[name] = percentiles(waited)
    card.throughput[name] = round(len(waited) / taken, 1)
    pool.shutdown()


def measure(library: Library, card: Card) -> None:
    searcher, texts = Searcher(library), sentences(card.queries)
    reranked = f"{card.short_list} re-ranked"
    ask(searcher, card, texts[:30], "the first 30")
    ask(searcher, card, texts, reranked)
    inside(searcher, card, texts[:200])
    ask(searcher, card, texts[:100], f"{reranked}, {FILTER}", FILTER)
    both = library.bundle
    library.__dict__["bundle"] = dataclasses.replace(both, alone=True)
    ask(searcher, card, texts, "without re-rank")
    library.__dict__["bundle"] = both
    if card.machine["files"] != "tmpfs":
        from_disk(searcher, card, texts[:50])
    crowd(searcher, card, texts)
    card.memory_mb = {"engine": resident(library.store.pid), "caller": resident(os.getpid())}  # pyright: ignore


def limits(card: dict[str, Any]) -> str:
    """Say which part takes most of a search."""
    found = card["parts_ms"]
    parts = {"encode: the sentence": found[f"{card['short_list']} re-ranked"]["encode"], **found["inside"]}
    parts["rest: hits made of pictures"] = found[f"{card['short_list']} re-ranked"]["rest"]
    whole = sum(parts.values())
    shares = [f"{name} {value:.1f} ms ({value / whole:.0%})" for name, value in sorted(parts.items(), key=_by_value)]
    return "Where a search's time goes, medians: " + "; ".join(shares) + "."


def _by_value(part: tuple[str, float]) -> float:
    return -part[1]


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    machine, model = card["machine"], card["model"]
    head = (
        f"{card['pictures']:,} pictures, SAF of {model['regions']} regions × {model['embed']}, similarity vectors of "
        f"{model['sim']}, {card['kilobytes_of_codes']:.0f} kB of codes a picture; {machine['cores']} cores, load "
        f"{machine['load_before']:.0f} before and {machine['load_after']:.0f} after:"
    )
    rows: list[list[str]] = []
    for name, waited in card["latency_ms"].items():
        rate = card["throughput"].get(name)
        cpu = card["cpu_ms"].get(name)
        cells = [*(f"{waited[key]:.1f}" for key in COLUMNS), f"{cpu:.0f}" if cpu else ""]
        rows.append([name, *cells, f"{rate:.0f}" if rate else ""])
    latencies = Table(["searches", "p50", "p95", "p99", "worst, ms", "CPU, ms a search", "a second"], rows)
    lines = [head, "", latencies.to_markdown(padded=False)]
    goal = GOALS.get(card["pictures"])
    if goal:
        p95 = card["latency_ms"][f"{card['short_list']} re-ranked"]["p95"]
        if machine["load_before"] > machine["cores"]:
            lines += ["", "Other programs kept the machine busy: the CPU time counts, not the clock."]
        lines += ["", f"The goal is a p95 below {goal:.0f} ms with 100 re-ranked: {'met' if p95 < goal else 'missed'}."]
    return "\n".join([*lines, "", limits(card)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--store", type=Path, help="what store_scale.py kept of the same count; made anew without")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--coded", type=int, default=20_000, help="pictures that region codes are drawn for")
    parser.add_argument("--regions", type=int, default=49)
    parser.add_argument("--embed", type=int, default=256)
    parser.add_argument("--sim", type=int, default=128)
    parser.add_argument("--feature", type=int, default=1280)
    parser.add_argument("--out", type=Path, default=Path("experiments/search-scale"))
    parser.add_argument("--folder", type=Path, help="where the library is made and removed; the system's own for such")
    parser.add_argument("--table", type=Path, help="write the table of a card, and measure nothing")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())))
        return
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    machine = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0], "nice": os.nice(0), **versions}
    sizes = {name: getattr(given, name) for name in ("regions", "embed", "sim", "feature")}
    card = Card(given.count, given.queries, sizes, given.coded, SHORT, machine)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        card.machine["files"] = filesystem(Path(folder))
        library = prepare(Path(folder), card, given.store)
        try:
            measure(library, card)
        finally:
            library.close()
    card.machine["load_after"] = os.getloadavg()[0]
    write_json(given.out / f"{given.count}-{given.regions}x{given.embed}.json", asdict(card))
    print(table(asdict(card)))


if __name__ == "__main__":
    main()
