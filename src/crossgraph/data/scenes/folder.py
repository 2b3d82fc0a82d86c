"""Write a folder of scenes: pictures, captions, boxes, attribution; in parallel, going on where a run stopped.

    pictures/000000.png ...            ordinary scenes
    pictures/hard-0000-a.png ...       hard scenes: pairs, a and b
    captions.jsonl                     one line a picture: image, captions, split
    objects.json                       of each picture: ground, objects with boxes, relations
    ATTRIBUTION.md                     licence of the pictograms
    scenes.json                        count, seed, size, version; written last, when all is complete

While it is being made, `.parts/` holds the captions and boxes of the finished pictures.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from crossgraph import files
from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, Range
from crossgraph.data.scenes.make import SIZE, VERSION, Scene, hard_scene, scene
from crossgraph.data.scenes.plan import GROUP_SIZE
from crossgraph.progress import ProgressCallback, ignore_progress

FEWEST, MOST = 20, 1_000_000
SMALLEST, LARGEST = 64, 1024
PART = 50
"""Pictures that are made together: a stop loses at most so many a process."""


@dataclass(frozen=True)
class Settings(CheckedSettings, prefix="--"):
    """Settings that decide the content of a scenes folder.

    Attributes:
        count: How many pictures in all.
        seed: Which series of scenes.
        size: Side of the pictures in pixels.
        version: Of the program that draws and describes scenes.
    """

    count: Annotated[int, Range(least=FEWEST, most=MOST)] = 2000
    seed: int = 0
    size: Annotated[int, Range(least=SMALLEST, most=LARGEST)] = SIZE
    version: int = VERSION

    def shares(self) -> dict[str, int]:
        """Return how many pictures each split gets: train 80 %, hard 8 %, test 7 %, dev 5 %.

        From 1,000 pictures on the hard split has at least 100; its pairs stay whole.
        """
        hard = max(self.count * 8 // 100, 100 if self.count >= 1000 else 0, 2 * GROUP_SIZE)
        hard -= hard % GROUP_SIZE
        dev, test = max(2, self.count * 5 // 100), max(2, self.count * 7 // 100)
        return {"train": self.count - dev - test - hard, "dev": dev, "test": test, "hard": hard}


@dataclass(frozen=True)
class _Job:
    """One picture to make."""

    name: str
    split: str
    index: int

    def make(self, settings: Settings) -> Scene:
        draw = hard_scene if self.split == "hard" else scene
        return draw(settings.seed, self.index, settings.size)


def write_scenes(out: Path, settings: Settings, report: ProgressCallback = ignore_progress, workers: int = 0) -> bool:
    """Make a folder of scenes, or finish one that was begun.

    Args:
        out: The folder; made when missing.
        settings: Number, seed and size of the pictures.
        report: Called with the progress.
        workers: Processes; 0 for one a core.

    Returns:
        False when everything was there already.

    Raises:
        InputError: The folder holds something else, the disk is full, or the extra `demo` is missing.
    """
    _claim(out, settings)
    jobs = _jobs(settings)
    if (out / "scenes.json").exists() and all((out / job.name).is_file() for job in jobs):
        return False
    parts = [jobs[start : start + PART] for start in range(0, len(jobs), PART)]
    todo = [number for number, part in enumerate(parts) if not _is_done(out, number, part)]
    done = len(jobs) - sum(len(parts[number]) for number in todo)
    report("drawing", done, len(jobs))
    for number in _run(partial(_make_part, out, settings), {n: parts[n] for n in todo}, workers):
        done += len(parts[number])
        report("drawing", done, len(jobs))
    _finish(out, settings, len(parts))
    return True


def _claim(out: Path, settings: Settings) -> None:
    """Record the settings in a new folder, or check that a folder was made with the same."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, not a folder", "name another folder by --out")
    for record in (out / "scenes.json", out / ".parts" / "scenes.json"):
        if record.exists():
            before = files.read_json(record, "name another folder by --out")
            if not isinstance(before, dict):
                raise InputError(f"{record}: holds no settings", "name another folder by --out")
            for name, value in asdict(settings).items():
                if before.get(name) != value:
                    problem = f"{out}: holds scenes with {name} {before.get(name)}, not {value}"
                    raise InputError(problem, "name another folder by --out")
            return
    try:
        others = [entry.name for entry in out.iterdir() if entry.name != ".parts"] if out.exists() else []
    except OSError as error:
        raise files.unwritable(out, error) from error
    if others:
        raise InputError(f"{out}: holds no scenes but {min(others)}", "name an empty or a new folder by --out")
    files.write_json(out / ".parts" / "scenes.json", asdict(settings))


def _jobs(settings: Settings) -> list[_Job]:
    shares = settings.shares()
    jobs: list[_Job] = []
    for split in ("train", "dev", "test"):
        jobs += [_Job(f"pictures/{k:06d}.png", split, k) for k in range(len(jobs), len(jobs) + shares[split])]
    for index in range(shares["hard"]):
        group, member = divmod(index, GROUP_SIZE)
        jobs.append(_Job(f"pictures/hard-{group:04d}-{'ab'[member]}.png", "hard", index))
    return jobs


def _part_file(out: Path, number: int) -> Path:
    return out / ".parts" / f"{number:05d}.json"


def _is_done(out: Path, number: int, part: list[_Job]) -> bool:
    return _part_file(out, number).exists() and all((out / job.name).is_file() for job in part)


def _make_part(out: Path, settings: Settings, number: int, part: list[_Job]) -> int:
    """Make the pictures of a part, then the record that says that they are complete."""
    records: list[dict[str, Any]] = []
    for job in part:
        made = job.make(settings)
        _write_picture(out / job.name, made)
        records.append(
            {"image": job.name, "captions": made.captions, "split": job.split, "scene": _describe(job, made)}
        )
    files.write_json(_part_file(out, number), records)
    return number


def _write_picture(path: Path, made: Scene) -> None:
    """Write a picture atomically but unsynced: what a power cut loses can be made again."""
    buffer = io.BytesIO()
    made.picture.save(buffer, "PNG", compress_level=3)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise files.unwritable(path, error) from error


def _describe(job: _Job, made: Scene) -> dict[str, Any]:
    """Return a picture's entry in `objects.json`."""
    groups = range(1 + max(item.group for item in made.objects))
    members = [[k for k, item in enumerate(made.objects) if item.group == group] for group in groups]
    objects = [
        {"name": o.name, "colour": o.colour or None, "size": o.size or None, "box": list(o.box)} for o in made.objects
    ]
    relations = [
        {"subject": members[f.subject], "relation": f.relation, "target": members[f.target]} for f in made.relations
    ]
    entry: dict[str, Any] = {"ground": made.ground, "objects": objects, "relations": relations}
    if made.factor is not None:
        entry["hard"] = {"pair": job.index // GROUP_SIZE, "factor": made.factor}
    return entry


def _run(work: Callable[[int, list[_Job]], int], parts: dict[int, list[_Job]], workers: int) -> Any:
    """Make the parts, in other processes where there are several; yield the number of each when it is done."""
    workers = min(workers or len(os.sched_getaffinity(0)), len(parts))
    if workers <= 1 or len(parts) < 4:
        for number, part in parts.items():
            yield work(number, part)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_leave_interrupts_to_the_parent)
    try:
        futures: list[Future[int]] = [pool.submit(work, number, part) for number, part in parts.items()]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        problem = "a process that draws scenes was killed, perhaps for want of memory"
        raise InputError(problem, "run the same command again; it goes on") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _finish(out: Path, settings: Settings, parts: int) -> None:
    """Gather the parts' records into the folder's files; scenes.json last."""
    records: list[dict[str, Any]] = []
    for number in range(parts):
        records += files.read_json(_part_file(out, number), "remove it and run the same command again")
    lines = [json.dumps({k: r[k] for k in ("image", "captions", "split")}, ensure_ascii=False) for r in records]
    files.write_text(out / "captions.jsonl", "\n".join(lines) + "\n")
    head = {"format_version": 1, "size": settings.size, "boxes": "x0, y0, x1, y1 of the visible pixels, ends exclusive"}
    rows = ",\n".join(f"  {json.dumps(r['image'])}: {json.dumps(r['scene'])}" for r in records)
    text = f'{json.dumps(head, indent=1)[:-2]},\n "pictures": {{\n{rows}\n }}\n}}\n'
    files.write_text(out / "objects.json", text)
    files.write_text(out / "ATTRIBUTION.md", ATTRIBUTION)
    files.write_json(out / "scenes.json", asdict(settings))
    for leftover in (out / "pictures").glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    shutil.rmtree(out / ".parts", ignore_errors=True)


ATTRIBUTION = """# Attribution

The pictures in this folder are composed by crossgraph from pictograms of **OpenMoji**, the open-source
emoji and icon project (https://openmoji.org), licensed CC BY-SA 4.0
(https://creativecommons.org/licenses/by-sa/4.0/).

Changes made: pictograms are cropped, scaled, mirrored, partly covered, repainted in other colours, and set
on drawn grounds. The box, the table, the bench and the grounds are crossgraph's own drawings.

The pictures are adaptations and may be shared under the same licence, CC BY-SA 4.0, with this notice kept.
"""
