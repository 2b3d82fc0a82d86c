"""Indexing: a library made equal to what lies in its roots, in steps that a kill cannot undo.

The order within a step is what keeps it safe: records are written and synced first, then one transaction of the
manifest names them, then the store learns of them, and only then is the step reported. A run killed between any
two leaves bytes that nobody names, or points that the store lacks; the next run overwrites the one and adds the
other.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from crossgraph.core.errors import InputError
from crossgraph.library.alike import group_new
from crossgraph.library.captions import attach
from crossgraph.library.library import Library
from crossgraph.library.lock import writing
from crossgraph.library.manifest import KnownFile, now
from crossgraph.library.reading import Read, read_file
from crossgraph.library.records import Kind
from crossgraph.library.roots import choose_roots, taken_out
from crossgraph.library.scan import Found, is_excluded, scan_root
from crossgraph.library.writing import Step, Writer
from crossgraph.vision.pictures import DEFAULT_MEGAPIXELS, PictureLoader, heif_is_read
from crossgraph.vision.region_encoder import RegionEncoder, load_region_encoder, picture_loader

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """How indexing goes about its work.

    Attributes:
        batch_size: Pictures a forward pass of the region encoder.
        workers: Threads that read and decode.
        max_megapixels: Larger pictures are listed as broken.
        exclude: Patterns of names and paths below a root to pass over; the library remembers them. None takes
            those remembered.
        keep_features: Whether region features are kept for a later model.
        codes: How codes are stored in a new library; None is float16, or whatever an older library has.
        step: Pictures that are committed together.
        seconds: A step is committed at least so often.
        allow_empty: Whether a root that has lost all of its pictures is believed.
    """

    batch_size: int = 8
    workers: int = 3
    max_megapixels: float = DEFAULT_MEGAPIXELS
    exclude: tuple[str, ...] | None = None
    keep_features: bool = False
    codes: Kind | None = None
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
        added: New files of new content.
        renamed: New files of known content: renames and copies.
        updated: Files whose content changed.
        removed: Files that are gone.
        unchanged: Files that are as before.
        broken: (path, reason) of files and folders that cannot be used.
        notes: What a person should know about the patterns that were passed over, a line each.
        pictures: In the library afterwards.
        seconds: Spent reading and encoding.
    """

    added: int = 0
    renamed: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    notes: list[str] = field(default_factory=list[str])
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
        roots: Folders; none takes the library's own, of which one that is not there now is passed over.
        settings: How.
        report: Told of progress; what it was told of is on disk.
        encoder: In place of the one that the model names.

    Raises:
        InputError: A root is missing or suddenly empty, another process writes, or the disk is full.
    """
    settings = settings or Settings()
    if library.manifest.meta("layout") and settings.codes not in (None, library.layout.kind):
        raise InputError(
            f"--codes {settings.codes}: {library.folder} keeps codes as {library.layout.kind}",
            "leave --codes out, or index into a new library",
        )
    with writing(library.folder):
        real, absent = choose_roots(library.manifest, roots)
        if not real:
            first = next(iter(absent), None)
            problem = f"{first[0]}: {first[1]}" if first else f"{library.folder}: has no folder of pictures yet"
            raise InputError(problem, "mount it" if first else "name one: crossgraph index PICTURES")
        run = _Run(library, settings, report, encoder)
        run.outcome.broken += absent
        return run.go(real, bool(roots))


class _Run:
    """One indexing run."""

    def __init__(self, library: Library, settings: Settings, report: Report, encoder: RegionEncoder | None) -> None:
        self.library, self.settings, self.report = library, settings, report
        self.encoder = encoder or load_region_encoder(library.bundle.region_encoder)
        self.outcome = Outcome()
        self.writer = Writer(library, settings.keep_features, settings.codes or "float16")
        self.heif = heif_is_read()
        self.before: dict[str, KnownFile] = {}  # what was known of the files to be read
        self.seen: set[str] = set()  # contents that this run has encoded
        self.passed_over = 0  # files that the library knows and patterns now exclude

    def go(self, roots: Sequence[Path], named: bool) -> Outcome:
        begun = time.monotonic()
        self.writer.repair(self.report)
        exclude = self._patterns()
        todo: list[tuple[int, Found]] = []
        gone: list[str] = []
        numbers = {self.library.manifest.add_root(root): root for root in roots}
        for number, root in numbers.items():
            todo += ((number, file) for file in self._changed(root, number, exclude, gone, named))
        self._remember_patterns(exclude, named)
        self._encode(todo)
        self.outcome.removed = len(gone)
        self.writer.forget(gone)
        for number, root in numbers.items():
            changed, notes = attach(self.library.manifest, number, root)
            self.outcome.broken += notes
            self.writer.upsert(changed)
        group_new(self.library.manifest, self.report)
        values = {"indexed": now(), "max_megapixels": f"{self.settings.max_megapixels:g}"}
        self.library.manifest.remember(values)
        self.writer.finish(self.report)
        self.outcome.pictures = self.library.count()
        self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    def _patterns(self) -> list[str]:
        if self.settings.exclude is not None:
            return [pattern for pattern in self.settings.exclude if pattern]
        return json.loads(self.library.manifest.meta("exclude", "[]"))

    def _remember_patterns(self, patterns: list[str], named: bool) -> None:
        """Remember the patterns once every root was read with them: a refused run must not change the next one."""
        manifest, notes = self.library.manifest, self.outcome.notes
        if self.settings.exclude is not None:
            manifest.remember({"exclude": json.dumps(patterns)})
        elif patterns and named:
            change = "other patterns replace these, --exclude '' forgets them"
            notes.append(f"the library remembers {_as_options(patterns)}: {change}")
        before = sum(len(manifest.files(number)) for number in manifest.roots()) if self.passed_over else 0
        if 2 * self.passed_over > before:
            undo = "--exclude '' and the same folders bring them back"
            count = f"{self.passed_over:,} of the {before:,} pictures that the library had"
            notes.append(f"{_as_options(patterns)} takes out {count}; {undo}")

    def _changed(
        self, root: Path, number: int, exclude: Sequence[str], gone: list[str], named: bool
    ) -> Iterator[Found]:
        """Yield a root's files that must be read; collect those that are gone."""
        manifest = self.library.manifest
        scan = scan_root(root, exclude, [self.library.folder, *taken_out(manifest)], self.heif)
        known = manifest.files(number)
        self.outcome.broken += scan.notes
        if known and not scan.files and not self.settings.allow_empty:
            said = f"holds no picture any more, the library has {len(known):,} from it"
            remedy = f"mount it; or if they are really gone: crossgraph library remove '{root}'"
            if all(is_excluded(path, root, exclude) for path in known):
                said = f"{_as_options(exclude)} passes over all {len(known):,} pictures that the library has from it"
                remedy = f"exclude less (--exclude '' for nothing), or: crossgraph library remove '{root}'"
                named = named or self.settings.exclude is not None
            if named:
                raise InputError(f"{root}: {said}", remedy)
            self.outcome.broken.append((str(root), f"folder: {said}, which stay"))
            return
        found = {file.path for file in scan.files}
        unread = tuple(f"{folder.rstrip('/')}/" for folder in scan.unread)
        left = [path for path in known if path not in found and not path.startswith(unread)]
        gone += left
        self.passed_over += sum(is_excluded(path, root, exclude) for path in left)
        same_limit = manifest.meta("max_megapixels") == f"{self.settings.max_megapixels:g}"
        for file in scan.files:
            before = known.get(file.path)
            is_same = before is not None and (before.size, before.modified) == (file.size, file.modified)
            if before is not None and is_same and (same_limit or "--max-megapixels" not in before.broken):
                self.outcome.unchanged += 1
            else:
                if before is not None:
                    self.before[file.path] = before
                yield file

    def _encode(self, todo: Sequence[tuple[int, Found]]) -> None:
        """Read, encode and commit files in order."""
        step, begun, done = Step(), time.monotonic(), 0
        waiting: list[tuple[int, Read]] = []

        def encode() -> None:
            if waiting:
                pixels = np.stack([read.photo.pixels for _, read in waiting if read.photo is not None])
                regions = self.encoder.encode(torch.from_numpy(pixels))
                step.add_encoded(waiting, regions, self.library.bundle.encode_pictures(regions))
                waiting.clear()

        def commit() -> None:
            nonlocal step, begun
            encode()
            self.writer.commit(step)
            self._count(step)
            step, begun = Step(), time.monotonic()
            self.report("indexing", done, len(todo))

        with picture_loader(self.encoder, self.settings.max_megapixels) as loader:
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

    def _count(self, step: Step) -> None:
        outcome = self.outcome
        outcome.broken += step.broken()
        fresh = {read.file.path for _, read in step.fresh}
        for _, read in step.all():
            before = self.before.get(read.file.path)
            if read.broken:
                continue
            if before is None and read.file.path in fresh:
                outcome.added += 1
            elif before is None:
                outcome.renamed += 1
            elif read.picture == before.picture:
                outcome.unchanged += 1
            else:
                outcome.updated += 1

    def _read_ahead(self, todo: Sequence[tuple[int, Found]], loader: PictureLoader) -> Iterator[tuple[int, Read]]:
        """Read files in order, some of them ahead, by threads: Pillow decodes outside the interpreter's lock."""
        pool = ThreadPoolExecutor(self.settings.workers, thread_name_prefix="picture")
        waiting: list[tuple[int, Future[Read]]] = []
        size, cap = self.encoder.image_size, self.settings.max_megapixels
        try:
            for root, file in todo:
                waiting.append((root, pool.submit(read_file, self.library, file, loader, size, cap)))
                if len(waiting) > self.settings.batch_size + 2 * self.settings.workers:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _as_options(patterns: Sequence[str]) -> str:
    return " ".join(f"--exclude {shlex.quote(pattern)}" for pattern in patterns)


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
