"""Indexing: a library made equal to what lies in its roots, in steps that a kill cannot undo.

The order within a step is what keeps it safe: records are written and synced first, then one transaction of the
manifest names them, then the store learns of them, and only then is the step reported. A run killed between any
two leaves bytes that nobody names, or points that the store lacks; the next run overwrites the one and adds the
other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from crossgraph.core.errors import InputError
from crossgraph.data.near_duplicates import group_alike
from crossgraph.library.library import Library
from crossgraph.library.lock import writing
from crossgraph.library.manifest import now
from crossgraph.library.photo import heif_is_read
from crossgraph.library.reading import Read, read_file
from crossgraph.library.records import Kind
from crossgraph.library.scan import Found, check_roots, scan_root
from crossgraph.library.writing import Step, Writer
from crossgraph.vision.pictures import DEFAULT_MEGAPIXELS, PictureLoader
from crossgraph.vision.region_encoder import RegionEncoder, load_region_encoder

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """How indexing goes about its work.

    Attributes:
        batch_size: Pictures a forward pass of the region encoder.
        workers: Threads that read and decode.
        max_megapixels: Larger pictures are listed as broken.
        exclude: Patterns of names and paths below a root to pass over.
        keep_features: Whether region features are kept for a later model.
        codes: How codes are stored in a new library.
        step: Pictures that are committed together.
        seconds: A step is committed at least so often.
        allow_empty: Whether a root that has lost all of its pictures is believed.
    """

    batch_size: int = 8
    workers: int = 3
    max_megapixels: float = DEFAULT_MEGAPIXELS
    exclude: tuple[str, ...] = ()
    keep_features: bool = False
    codes: Kind = "float16"
    step: int = 64
    seconds: float = 2.0
    allow_empty: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the option."""
        for option, value in (("--batch-size", self.batch_size), ("--workers", self.workers)):
            if value < 1:
                raise InputError(f"{option} {value}", "give a whole number from 1 on")
        if not 0 < self.max_megapixels < 1e6:
            raise InputError(f"--max-megapixels {self.max_megapixels:g}", "give a number above 0")


@dataclass
class Outcome:
    """What an indexing run did.

    Attributes:
        added: Pictures of new content.
        renamed: Files of known content in new places: renames and copies.
        updated: Files whose content changed.
        removed: Files that are gone.
        unchanged: Files that were not read again.
        broken: (path, reason) of files that cannot be used.
        pictures: In the library afterwards.
        seconds: Spent reading and encoding.
    """

    added: int = 0
    renamed: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    pictures: int = 0
    seconds: float = 0.0


def index_pictures(
    library: Library,
    roots: Sequence[Path],
    settings: Settings | None = None,
    report: Report = lambda what, done, total: None,
    encoder: RegionEncoder | None = None,
) -> Outcome:
    """Make the library equal to what lies in some roots; other roots stay as they are.

    Args:
        library: With a model.
        roots: Folders; none takes the library's own.
        settings: How.
        report: Told of progress; what it was told of is on disk.
        encoder: In place of the one that the model names.

    Raises:
        InputError: A root is missing or suddenly empty, another process writes, or the disk is full.
    """
    settings = settings or Settings()
    known = list(library.manifest.roots().values())
    real = check_roots(roots or known)
    if not real:
        raise InputError(f"{library.folder}: has no folder of pictures yet", "name one: crossgraph index PICTURES")
    inner = [root for root in real if any(root != other and root.is_relative_to(other) for other in known)]
    for root in inner:
        if root not in known:
            real.remove(root)
            real.append(next(other for other in known if root.is_relative_to(other)))
    with writing(library.folder):
        return _Run(library, settings, report, encoder).go(list(dict.fromkeys(real)))


class _Run:
    """One indexing run."""

    def __init__(self, library: Library, settings: Settings, report: Report, encoder: RegionEncoder | None) -> None:
        self.library, self.settings, self.report = library, settings, report
        self.encoder = encoder or load_region_encoder(library.bundle.region_encoder)
        self.outcome = Outcome()
        self.writer = Writer(library, settings.keep_features, settings.codes)
        self.heif = heif_is_read()
        self.seen: set[str] = set()  # contents that this run has encoded

    def go(self, roots: Sequence[Path]) -> Outcome:
        begun = time.monotonic()
        self.writer.repair(self.report)
        todo: list[tuple[int, Found, bool]] = []
        gone: list[str] = []
        for root in roots:
            number = self.library.manifest.add_root(root)
            for file, is_new in self._changed(root, number, gone):
                todo.append((number, file, is_new))
        self._encode(todo)
        self.outcome.removed = len(gone)
        self.writer.forget(gone)
        if self.outcome.added or gone or self.outcome.updated:
            self._group()
        self.library.manifest.remember({"indexed": now()})
        self.writer.finish(self.report)
        self.outcome.pictures = self.library.count()
        self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    def _changed(self, root: Path, number: int, gone: list[str]) -> Iterator[tuple[Found, bool]]:
        """Yield a root's files that must be read, and whether their path is new; collect those that are gone."""
        scan = scan_root(root, self.settings.exclude, self.library.folder.resolve(), self.heif)
        known = self.library.manifest.files(number)
        if known and not scan.files and not self.settings.allow_empty:
            raise InputError(
                f"{root}: holds no picture any more, the library has {len(known):,} from it",
                "mount it; or if they are really gone: crossgraph library remove FOLDER",
            )
        self.outcome.broken += scan.notes
        found = {file.path for file in scan.files}
        gone += [path for path in known if path not in found]
        for file in scan.files:
            before = known.get(file.path)
            if before and (before.size, before.modified) == (file.size, file.modified):
                self.outcome.unchanged += 1
            else:
                yield file, before is None

    def _encode(self, todo: Sequence[tuple[int, Found, bool]]) -> None:
        """Read, encode and commit files in order."""
        step, begun, done = Step(), time.monotonic(), 0
        waiting: list[tuple[int, Read]] = []
        is_new = {file.path: new for _, file, new in todo}

        def encode() -> None:
            if waiting:
                pixels = np.stack([read.photo.pixels for _, read in waiting if read.photo is not None])
                regions = self.encoder.encode(torch.from_numpy(pixels))
                step.add_encoded(waiting, regions, self.library.bundle.encode_pictures(regions))
                waiting.clear()

        def commit() -> None:
            nonlocal step, begun
            encode()
            self._count(self.writer.commit(step), step, is_new)
            step, begun = Step(), time.monotonic()
            self.report("indexing", done, len(todo))

        with PictureLoader(self.encoder.image_size, self.settings.max_megapixels) as loader:
            for root, read in self._read_ahead(todo, loader):
                done += 1
                if read.photo is None:
                    step.add_plain(root, read)
                elif read.sha256 in self.seen:
                    step.copies.append((root, read))
                else:
                    self.seen.add(read.sha256)
                    waiting.append((root, read))
                if len(waiting) == self.settings.batch_size:
                    encode()
                if len(step) + len(waiting) >= self.settings.step or time.monotonic() - begun > self.settings.seconds:
                    commit()
            commit()

    def _count(self, added: int, step: Step, is_new: dict[str, bool]) -> None:
        self.outcome.added += added
        self.outcome.broken += step.broken()
        changed = sum(not is_new[path] for path in step.paths())
        self.outcome.updated += changed
        self.outcome.renamed += max(0, len(step) - added - changed - len(step.broken()))

    def _read_ahead(self, todo: Sequence[tuple[int, Found, bool]], loader: PictureLoader) -> Iterator[tuple[int, Read]]:
        """Read files in order, some of them ahead, by threads: Pillow decodes outside the interpreter's lock."""
        pool = ThreadPoolExecutor(self.settings.workers, thread_name_prefix="picture")
        waiting: list[tuple[int, Future[Read]]] = []
        size, cap = self.encoder.image_size, self.settings.max_megapixels
        try:
            for root, file, _ in todo:
                waiting.append((root, pool.submit(read_file, self.library, file, loader, size, cap)))
                if len(waiting) > self.settings.batch_size + 2 * self.settings.workers:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _group(self) -> None:
        """Find near-duplicates anew among all pictures."""
        hashes = self.library.manifest.hashes()
        groups = group_alike([value for _, value in hashes])
        ids = [number for number, _ in hashes]
        self.library.manifest.set_alike((ids[group], ids[row]) for row, group in enumerate(groups))


def bundle_left_by_demo() -> Path | None:
    """Return the bundle that `make demo` left in this folder, where there is one."""
    found = Path("demo") / "bundle"
    return found if (found / "bundle.json").exists() else None


def choose_model(named: Path | None, library_folder: Path, environment: str | None) -> Path:
    """Return which model a new library takes: the one named, $CROSSGRAPH_MODEL's, or the demo's.

    Args:
        named: By --model.
        library_folder: For the message.
        environment: $CROSSGRAPH_MODEL.

    Raises:
        InputError: There is none; the message names the two commands that make one.
    """
    chosen = named or (Path(environment) if environment else None) or bundle_left_by_demo()
    if chosen is None:
        raise InputError(
            f"{library_folder}: no model is named, and none lies here",
            "make one with 'make demo', or with 'crossgraph train' and 'crossgraph bundle', and name it by --model",
        )
    return chosen
