"""Mixed load on a server: rates, latencies, errors, and whether its memory stays flat.

    python benchmarks/serve_load.py --library LIBRARY --minutes 30

It starts `crossgraph serve` on a free port and asks it as several people at pages would: searches by words (with
paging, filters and minus terms), explanations of what was found, thumbnails and pictures, more like this, uploads,
metadata, the library's state. Half a minute of warming up is not counted. The server's memory is read from /proc
every ten seconds, with its child processes (the store's own one) apart; the slope is of the second half.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from crossgraph.files import write_json
from crossgraph.tables import Table

MIX = {
    "search": 40,
    "page": 10,
    "explain": 15,
    "thumbnail": 60,
    "image": 6,
    "like": 5,
    "upload": 4,
    "facts": 6,
    "state": 2,
}
"""How often each kind of request comes, in parts."""
WARM_UP, SAMPLED = 30.0, 10.0  # seconds


@dataclass
class Numbers:
    """What was measured."""

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    memory: list[tuple[float, float, float]] = field(default_factory=list)  # seconds, server and children in MiB
    guard: threading.Lock = field(default_factory=threading.Lock)


class Person(threading.Thread):
    """One client with a connection of its own.

    Args:
        place: host:port.
        words: Queries are made of these.
        pictures: Ids of the library.
        files: Pictures to upload.
        numbers: What is measured.
        begin: When counting begins.
        until: When to stop.
        pause: Mean seconds between requests.
        seed: Of what is asked.
    """

    def __init__(
        self,
        place: str,
        words: list[str],
        pictures: int,
        files: list[Path],
        numbers: Numbers,
        begin: float,
        until: float,
        pause: float,
        seed: int,
    ) -> None:
        super().__init__(daemon=True)
        self.place, self.words, self.pictures, self.files = place, words, pictures, files
        self.numbers, self.begin, self.until, self.pause = numbers, begin, until, pause
        self.dice = random.Random(seed)
        self.wire = http.client.HTTPConnection(place, timeout=60)
        self.sentence, self.hits, self.offset = "", [1], 0

    def run(self) -> None:
        """Ask until the time is up."""
        kinds, parts = list(MIX), list(MIX.values())
        while time.monotonic() < self.until:
            (kind,) = self.dice.choices(kinds, parts)
            begun = time.monotonic()
            try:
                status, body = self.ask(kind)
            except (OSError, http.client.HTTPException) as error:
                self.wire.close()
                status, body = 0, type(error).__name__.encode()
            spent = time.monotonic() - begun
            if begun > self.begin:
                self.count(kind, status, body, spent)
            time.sleep(self.dice.expovariate(1 / self.pause) if self.pause else 0)

    def count(self, kind: str, status: int, body: bytes, spent: float) -> None:
        """Note an answer."""
        with self.numbers.guard:
            if status == 429:
                self.numbers.busy += 1
            elif status in (200, 304):
                self.numbers.seconds[kind].append(spent)
            else:
                self.numbers.errors[f"{kind}: {status} {body[:120].decode('utf-8', 'replace')}"] += 1

    def ask(self, kind: str) -> tuple[int, bytes]:
        """Send one request of a kind; return status and body."""
        number = self.dice.choice(self.hits)
        if kind == "upload":
            return self.upload(self.dice.choice(self.files))
        if kind == "search":
            self.sentence, self.offset = " ".join(self.dice.sample(self.words, self.dice.randint(1, 8))), 0
        if kind == "page":
            self.offset += 60
        if kind in ("search", "page"):
            parameters: dict[str, object] = {"q": self.sentence or self.words[0], "k": 60, "offset": self.offset}
            if self.dice.random() < 0.2:
                parameters["where"] = "width > 10 and name ~ '1'"
            if self.dice.random() < 0.1:
                parameters["minus"] = self.dice.choice(self.words)
            status, body = self.get(f"/api/search?{urlencode(parameters)}")
            if status == 200:
                self.hits = [hit["id"] for hit in json.loads(body)["hits"]] or [1]
            return status, body
        if kind == "explain":
            ids = ",".join(map(str, self.hits[:24]))
            return self.get(f"/api/explain?ids={ids}&q={quote(self.sentence or self.words[0])}")
        paths = {"thumbnail": "/thumbnail", "image": "/image", "like": "/like?k=60", "facts": ""}
        return self.get(f"/api/pictures/{number}{paths[kind]}" if kind in paths else "/api/library")

    def get(self, path: str) -> tuple[int, bytes]:
        """GET; return status and body."""
        self.wire.request("GET", path)
        answer = self.wire.getresponse()
        return answer.status, answer.read()

    def upload(self, path: Path) -> tuple[int, bytes]:
        """Search by a picture; return status and body."""
        head = '--edge\r\nContent-Disposition: form-data; name="picture"; filename="p"\r\n\r\n'
        body = head.encode() + path.read_bytes() + b"\r\n--edge--\r\n"
        self.wire.request("POST", "/api/search", body, {"Content-Type": "multipart/form-data; boundary=edge"})
        answer = self.wire.getresponse()
        return answer.status, answer.read()


def resident(pid: int) -> float:
    """Return a process's resident memory in MiB, 0 where it has gone."""
    try:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def children(pid: int) -> list[int]:
    """Return a process's children and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text(encoding="ascii").split()):
            found += [child, *children(child)]
    return found


def summary(numbers: Numbers, measured: float) -> dict[str, Any]:
    """Return what was found, as plain values: milliseconds, MiB."""
    every = [spent for some in numbers.seconds.values() for spent in some]
    kinds: dict[str, dict[str, float]] = {}
    for kind, some in [*sorted(numbers.seconds.items()), ("all", every)]:
        if some:
            shown = {f"p{share}": round(1000 * float(np.percentile(some, share)), 1) for share in (50, 95, 99)}
            rate = round(len(some) / measured, 2)
            kinds[kind] = {"requests": len(some), "a_second": rate, **shown, "worst": round(1000 * max(some), 1)}
    minutes, server, others = (np.array(column) for column in zip(*numbers.memory, strict=True))
    half = minutes > minutes[-1] / 2
    slope = float(np.polyfit(minutes[half] / 60, server[half], 1)[0]) if half.sum() > 2 else 0.0
    return {
        "latency_ms": kinds,
        "errors": dict(numbers.errors.most_common(20)),
        "told_to_come_back": numbers.busy,
        "server_mib": {
            "first": round(server[0]),
            "last": round(server[-1]),
            "most": round(server.max()),
            "medians_of_quarters": [round(float(np.median(part))) for part in np.array_split(server, 4) if len(part)],
            "a_minute_in_the_second_half": round(slope, 3),
        },
        "store_mib": {"first": round(others[0]), "last": round(others[-1])},
    }


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    memory, store = card["server_mib"], card["store_mib"]
    quarters = ", ".join(map(str, memory["medians_of_quarters"]))
    head = f"{card['clients']} clients, {card['minutes']:g} minutes, {card['pictures']:,} pictures, "
    head += f"{card['cores']} cores, load average {card['load']:.1f}:"
    rows: list[list[str]] = []
    for kind, found in card["latency_ms"].items():
        times = [f"{found[name]:.0f}" for name in ("p50", "p95", "p99", "worst")]
        rows.append([kind, f"{found['requests']:,}", f"{found['a_second']:.1f}", *times])
    latencies = Table(["requests", "count", "a second", "p50", "p95", "p99", "worst, ms"], rows)
    lines = [head, "", latencies.to_markdown(padded=False)]
    lines += ["", f"Errors: {sum(card['errors'].values())}; told to come back (429): {card['told_to_come_back']}."]
    lines += [f"- {count} × {what}" for what, count in card["errors"].items()]
    kept = (
        f"Memory of the server: {memory['first']} MiB at first, {memory['last']} at the end, {memory['most']} at most; "
    )
    kept += (
        f"medians of the quarters {quarters}; {memory['a_minute_in_the_second_half']:+.2f} MiB a minute in the second "
    )
    kept += f"half. The store's process: {store['first']} MiB at first, {store['last']} at the end."
    return "\n".join([*lines, kept])


def watch(pid: int, numbers: Numbers, begin: float, until: float) -> None:
    """Read the memory until the end."""
    while (now := time.monotonic()) < until:
        if now >= begin:
            others = sum(resident(child) for child in children(pid))
            numbers.memory.append((now - begin, resident(pid), others))
            if len(numbers.memory) % 30 == 0:
                done = sum(map(len, numbers.seconds.values()))
                print(f"{(now - begin) / 60:.0f} min: {done:,} requests, {numbers.memory[-1][1]:.0f} MiB", flush=True)
        time.sleep(min(SAMPLED, max(0.1, until - now)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.1, help="mean seconds that a client rests")
    parser.add_argument("--out", type=Path, default=Path("experiments/serve-load"))
    parser.add_argument("--table", type=Path, help="write the table of a card, and measure nothing")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())))
        return 0
    if not given.library:
        parser.error("--library is missing")
    command = [sys.executable, "-m", "crossgraph", "serve", "--library", str(given.library), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    print(line.strip())
    found = re.search(r"at (http://\S+?)/", line)
    if not found:
        return 1
    place = urlsplit(found[1]).netloc
    words, pictures, files = known(given.library)
    numbers = Numbers()
    begin = time.monotonic() + min(WARM_UP, 6 * given.minutes)
    until = begin + 60 * given.minutes
    people = [
        Person(place, words, pictures, files, numbers, begin, until, given.pause, seed) for seed in range(given.clients)
    ]
    for person in people:
        person.start()
    try:
        watch(server.pid, numbers, begin, until)
        for person in people:
            person.join()
    except KeyboardInterrupt:
        until = time.monotonic()
    card = {
        "clients": given.clients,
        "minutes": round((until - begin) / 60, 1),
        "pause": given.pause,
        "pictures": pictures,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[1],
        **summary(numbers, max(1.0, until - begin)),
    }
    write_json(given.out / f"{pictures}-{given.clients}-clients.json", card)
    print(f"\n{table(card)}")
    server.send_signal(signal.SIGTERM)
    return 0 if server.wait(60) == 0 and not numbers.errors else 1


def known(library: Path) -> tuple[list[str], int, list[Path]]:
    """Return words that the model knows, how many pictures there are, and files to upload."""
    from crossgraph.library.library import Library
    from crossgraph.text.content_words import is_content

    with Library(library) as opened:
        vocabulary = opened.bundle.reranker.vocabulary.words
        words = [word for word in vocabulary if word.isalpha() and is_content(word)][:400]
        ids = opened.manifest.ids()
        files = [picture.paths[0] for picture in opened.manifest.get(ids[:50]).values() if picture.paths]
        return words, len(ids), files


if __name__ == "__main__":
    sys.exit(main())
