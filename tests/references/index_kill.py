"""`crossgraph index` killed at random moments and run again: what it must end as, and what must never be lost.

Run as a program it tries many moments and writes what came of them:
python tests/references/index_kill.py --moments 100 --out experiments/index-kill/outcomes.json
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))

from references.tiny_library import write_picture  # noqa: E402
from references.tiny_run import write_tiny_run  # noqa: E402

from crossgraph.library import Library, maintenance  # noqa: E402

COUNT, SECONDS, STEP = 32, 0.01, 4
STATES = ("new", "grown")

# The command itself, but: imports are done once and each run is forked, steps are small, and what is reported done
# is written down as it is reported.
_FORKER = """
import functools, json, os, sys
import references.tiny_regions, torch
from crossgraph.bundle import folder
from crossgraph import progress
from crossgraph.cli.main import main
from crossgraph.library import indexer, reencoding
from crossgraph.store import edge, memory
torch.set_num_threads(1)
indexer.Settings = functools.partial(indexer.Settings, step=STEP)
update = progress.ProgressDisplay.update
def print_update(self, name, done, total):
    print(name, done, total, flush=True)
    update(self, name, done, total)
progress.ProgressDisplay.update = print_update
for line in iter(sys.stdin.readline, ""):
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        out = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        os.environ["TINY_SECONDS"] = str(job["seconds"])
        code = main(job["words"])
        sys.stdout.flush()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
""".replace("STEP", str(STEP))


class World:
    """Pictures, a model, and an undisturbed library for each state that indexing starts from.

    Args:
        folder: Filled.
        engine: Of the libraries.
    """

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder, self.engine = folder, engine
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._forker = subprocess.Popen(
            [sys.executable, "-c", _FORKER], env=environment, text=True, stdin=pipe, stdout=pipe
        )
        self.model = write_tiny_run(folder / "model")
        self.photos, self.before = folder / "photos", folder / "before"
        for number in range(COUNT):
            write_picture(self.photos / f"{number:03}.png", number)
        for number in range(0, COUNT, 8):
            shutil.copy(self.photos / f"{number:03}.png", self.photos / f"{number:03}-copy.png")
        (self.photos / "bad.jpg").write_text("not a picture")
        self.earlier = folder / "earlier"
        self._earlier_photos()
        self.wanted: dict[str, dict[str, Any]] = {}
        self.todo: dict[str, list[str]] = {}
        for state in STATES:
            library = self.start(state, "undisturbed")
            self.finish(library)
            self.wanted[state] = outcome(library)
            self.todo[state] = sorted(files(library))  # all: the files of the earlier library have another ctime now

    def start(self, state: str, name: str) -> Path:
        """Lay out a library as a run finds it, and the pictures in place of those it was made from."""
        library = self.folder / name
        shutil.rmtree(library, ignore_errors=True)
        if state == "grown":
            shutil.copytree(self.earlier, library)
        return library

    def run(self, library: Path, seconds: float, after: float | None = None) -> tuple[int, list[str]]:
        """Index, and kill that so many seconds after it began; return the exit code and what was reported."""
        words = ["index", str(self.photos), "--library", str(library), "--model", str(self.model)]
        words += ["--store", self.engine, "--batch-size", "2", "--keep-features"]
        said = self.folder / "said"
        said.write_text("")  # of the run before: one that is killed at once writes nothing
        assert self._forker.stdin is not None and self._forker.stdout is not None
        self._forker.stdin.write(json.dumps({"words": words, "seconds": seconds, "said": str(said)}) + "\n")
        self._forker.stdin.flush()
        pid = int(self._forker.stdout.readline())
        if after is not None:
            time.sleep(after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self._forker.stdout.readline()), said.read_text().splitlines()

    def finish(self, library: Path) -> None:
        code, said = self.run(library, 0.0)
        assert code == 0, said

    def length(self, state: str) -> float:
        """Return how many seconds an undisturbed run takes."""
        library = self.start(state, "timed")
        begun = time.monotonic()
        self.run(library, SECONDS)
        return time.monotonic() - begun

    def close(self) -> None:
        self._forker.communicate()

    def _earlier_photos(self) -> None:
        """Make the library of an earlier day: fewer pictures, other names, one other content."""
        now = self.folder / "now"
        self.photos.rename(now)
        self.photos.mkdir()
        files = sorted(path for path in now.iterdir() if path.suffix == ".png")
        for path in files[: len(files) // 2]:
            shutil.copy2(path, self.photos / path.name)
        for path in files[:4]:
            (self.photos / path.name).rename(self.photos / f"old {path.name}")
        a, b = self.photos / files[5].name, self.photos / files[15].name
        a.rename(self.photos / "t")
        b.rename(a)
        (self.photos / "t").rename(b)
        write_picture(self.photos / files[8].name, 900)
        write_picture(self.photos / "gone.png", 901)
        self.finish(self.earlier)
        shutil.rmtree(self.photos)
        now.rename(self.photos)


def outcome(library: Path) -> dict[str, Any]:
    """Return what a library holds, by content; it must be sound."""
    with Library(library) as opened:
        findings = maintenance.verify(opened, lambda *said: None)
        assert findings.sound, findings
        ids = opened.manifest.ids()
        pictures = opened.manifest.get(ids)
        records = opened.records(ids)
        of = {number: pictures[number].sha256 for number in ids}
        assert list(opened.store.ids()) == ids
        assert not opened.manifest.pending()
        return {
            "paths": {of[n]: [path.name for path in pictures[n].paths] for n in ids},
            "alike": {of[n]: of.get(pictures[n].alike) for n in ids if pictures[n].alike != n},
            # which pictures share a batch shows in the last digits, so codes are compared by what they look like
            "codes": {of[n]: records["local"][row].astype(float).round(1).tolist() for row, n in enumerate(ids)},
            "thumbnails": {of[n]: _digest(opened.thumbnail(of[n])) for n in ids},
            "broken": [Path(path).name for path, _ in opened.manifest.broken()],
            "captions": {of[n]: pictures[n].captions for n in ids},
        }


def killed(world: World, state: str, name: str, after: float) -> dict[str, Any]:
    """Kill a run so many seconds after it begins, look at what is there, run it to the end, compare.

    Returns:
        What came of it; "lost" and "differs" must be empty.
    """
    library = world.start(state, name)
    code, said = world.run(library, SECONDS, after)
    reported = max((int(line.split()[1]) for line in said if line.startswith("indexing ")), default=0)
    there = files(library)
    world.finish(library)
    found, wanted = outcome(library), world.wanted[state]
    shutil.rmtree(library)
    return {
        "state": state,
        "after": round(after, 3),
        "reported": reported,
        "finished": code == 0,
        "lost": [each for each in world.todo[state][:reported] if each not in there],
        "differs": [key for key in wanted if found[key] != wanted[key]],
    }


def files(library: Path) -> set[str]:
    """Return path and content of every file that a library knows, as a reader sees it after the kill."""
    if not (library / "manifest.sqlite").exists():
        return set()
    with Library(library) as opened:
        query = "SELECT path, sha256, state, generation, shard, row FROM files JOIN pictures ON pictures.id = picture"
        rows = opened.manifest.connection.execute(query).fetchall()
        for row in rows:
            if row["state"] == "ready":
                assert opened.shards.rows(row["generation"], row["shard"]) > row["row"], "codes before the manifest"
        return {f"{Path(row['path']).name} {row['sha256']}" for row in rows}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=100, help="at which it was still running")
    parser.add_argument("--engine", default="edge")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    drawn = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), given.engine)
        lengths = {state: world.length(state) for state in STATES}
        found: list[dict[str, Any]] = []
        while sum(not one["finished"] for one in found) < given.moments:
            state = STATES[len(found) % len(STATES)]
            found.append(killed(world, state, f"killed{len(found)}", drawn.uniform(0, lengths[state])))
            if found[-1]["finished"]:  # too late to kill it: the machine has become faster
                lengths[state] *= 0.9
            print(len(found), found[-1], flush=True)
        world.close()
    bad = [one for one in found if one["lost"] or one["differs"]]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "command": f"python tests/references/index_kill.py --moments {given.moments} --engine {given.engine} "
        f"--seed {given.seed} --out {given.out}",
        "engine": given.engine,
        "pictures": COUNT,
        "seconds_undisturbed": {state: round(seconds, 2) for state, seconds in lengths.items()},
        "runs": len(found),
        "killed_while_running": sum(not one["finished"] for one in found),
        "killed_after_it_had_reported": sum(not one["finished"] and one["reported"] > 0 for one in found),
        "bad": len(bad),
        "outcomes": found,
    }
    given.out.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} runs, {given.moments} killed while they ran, {len(bad)} bad")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
