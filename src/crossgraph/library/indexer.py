"""Indexes pictures: makes a library equal to what its roots hold, in steps that a kill cannot undo.

`crossgraph.library.writer` writes each step; only when it is on disk is it reported. Files that are gone are deleted
after all new ones are written, since a renamed file is recognised by the content that the library still has.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from crossgraph.bundle.bundle import Bundle
from crossgraph.bundle.folder import load_bundle
from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, MegapixelLimit, Size
from crossgraph.library.captions import attach_captions
from crossgraph.library.library import Library
from crossgraph.library.lock import write_lock
from crossgraph.library.manifest import KnownFile, now
from crossgraph.library.near_duplicates import group_new
from crossgraph.library.reading import ReadFile, read_file
from crossgraph.library.records import Kind
from crossgraph.library.roots import choose_roots
from crossgraph.library.scan import RootChanges, remember_identities, scan_root
from crossgraph.library.writer import Step, Writer
from crossgraph.progress import ProgressCallback
from crossgraph.vision.missing import unread_notes
from crossgraph.vision.pictures import DEFAULT_MEGAPIXELS, PictureLoader, heif_is_read, reader_signature
from crossgraph.vision.region_encoder import REGION_ENCODERS, RegionEncoder, load_region_encoder, picture_loader
from crossgraph.vision.scan import PictureFile, is_gone, reason_of


@dataclass(frozen=True)
class Settings(CheckedSettings, prefix="--"):
    """Settings of an indexing run.

    Attributes:
        batch_size: Pictures a forward pass of the region encoder.
        workers: Threads that read and decode.
        max_megapixels: Larger pictures are listed as broken.
        exclude: Patterns of names and paths below a root to skip; the library keeps them. None takes those
            kept.
        keep_features: Whether region features are stored for a later model.
        codes: How codes are stored in a new library; None is float16, or whatever an older library has.
        step: Pictures that are committed together.
        seconds: A step is committed at least so often.
        allow_empty: Whether a root that has lost all of its pictures is believed.
        retry_broken: Whether broken pictures are read again although neither they nor the decoders changed.
    """

    batch_size: Size = 8
    workers: Size = 3
    max_megapixels: MegapixelLimit = DEFAULT_MEGAPIXELS
    exclude: tuple[str, ...] | None = None
    keep_features: bool = False
    codes: Kind | None = None
    step: int = 64
    seconds: float = 2.0
    allow_empty: bool = False
    retry_broken: bool = False


@dataclass
class Outcome:
    """The results of an indexing run.

    Attributes:
        added: New files of new content.
        renamed: New files of known content: renames and copies.
        updated: Files whose content changed.
        removed: Files that are gone.
        unchanged: Files that are as before.
        kept: Files that cannot be seen or read now; their pictures stay.
        broken: (path, reason) of files and folders that cannot be used.
        notes: Lines for the user about folders and patterns.
        pictures: In the library afterwards.
        seconds: Spent reading and encoding.
    """

    added: int = 0
    renamed: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    kept: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    notes: list[str] = field(default_factory=list[str])
    pictures: int = 0
    seconds: float = 0.0


def index_pictures(
    library: Library,
    roots: Sequence[Path],
    settings: Settings | None = None,
    report: ProgressCallback = lambda task, done, total: None,
    encoder: RegionEncoder | None = None,
) -> Outcome:
    """Make the library equal to what lies in some roots; other roots stay as they are.

    Args:
        library: With a model.
        roots: Folders; none takes the library's own, of which one that is not there now is skipped.
        settings: Of the run.
        report: Progress callback; what it reports is on disk.
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
    with write_lock(library.folder):
        real, notes = choose_roots(library.manifest, roots)
        if not real:
            problem = notes[0] if notes else f"{library.folder}: has no folder of pictures yet"
            raise InputError(problem, "mount it" if notes else "name one: crossgraph index PICTURES")
        run = _Run(library, settings, report, encoder)
        run.outcome.notes += notes
        return run.index(real, bool(roots))


class _Run:
    """One indexing run."""

    def __init__(
        self, library: Library, settings: Settings, report: ProgressCallback, encoder: RegionEncoder | None
    ) -> None:
        self.library, self.settings, self.report = library, settings, report
        self.encoder = encoder or load_region_encoder(library.bundle.region_encoder)
        self.outcome = Outcome()
        self.writer = Writer(library, settings.keep_features, settings.codes or "float16")
        self.heif = heif_is_read()
        self.reader = reader_signature()
        self.same_limit = library.manifest.meta("max_megapixels") == f"{settings.max_megapixels:g}"
        self.before: dict[str, KnownFile] = {}  # known files that are read again, or cannot be seen
        self.seen: set[str] = set()  # contents that this run has encoded
        self.moved: set[int] = set()  # pictures that this run found under another path
        self.unread: dict[str, str] = {}  # files and folders that could not be read, with the reason
        self.unread_known: list[str] = []  # known files among them
        self.gone: list[str] = []

    def index(self, roots: Sequence[Path], named: bool) -> Outcome:
        """Scan the roots, encode new files, delete files that are gone, attach captions, and update the groups."""
        begun = time.monotonic()
        manifest = self.library.manifest
        self.writer.repair(self.report)
        exclude = self._patterns()
        numbers = {manifest.add_root(root): root for root in roots}
        changes = {
            number: scan_root(self.library, root, number, exclude, self.heif, self._is_unchanged)
            for number, root in numbers.items()
        }
        self._check_emptied(changes.values(), exclude, named)
        self._remember_patterns(exclude, sum(change.excluded for change in changes.values()), named)
        for change in changes.values():
            self._note_changes(change)
        self._encode([(number, file) for number, change in changes.items() for file in change.to_read])
        self._sort_unseen(changes.values())
        self.outcome.removed = len(self.gone)
        self.writer.forget(self.gone)
        for number, change in changes.items():
            if change.is_seen:
                changed, notes = attach_captions(manifest, number, change.root)
                self.outcome.broken += notes
                self.writer.upsert(changed)
        remember_identities(manifest, changes.values())
        manifest.set_changed_times(file for change in changes.values() for file in change.undated)
        group_new(manifest, self.report)
        manifest.remember({"indexed": now(), "max_megapixels": f"{self.settings.max_megapixels:g}"})
        self.writer.finish(self.report)
        self.outcome.pictures = self.library.count()
        self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    def _patterns(self) -> list[str]:
        """Return the patterns of the settings, or else those that the library keeps."""
        if self.settings.exclude is not None:
            return [pattern for pattern in self.settings.exclude if pattern]
        return json.loads(self.library.manifest.meta("exclude", "[]"))

    def _remember_patterns(self, patterns: list[str], excluded: int, named: bool) -> None:
        """Keep the patterns once every root was scanned with them: a refused run must not change the next one."""
        manifest, notes = self.library.manifest, self.outcome.notes
        if self.settings.exclude is not None:
            manifest.remember({"exclude": json.dumps(patterns)})
        elif patterns and named:
            change = "other patterns replace these, --exclude '' forgets them"
            notes.append(f"the library remembers {_as_options(patterns)}: {change}")
        before = sum(len(manifest.files(number)) for number in manifest.roots()) if excluded else 0
        if 2 * excluded > before:
            undo = "--exclude '' and the same folders bring them back"
            count = f"{excluded:,} of the {before:,} pictures that the library had"
            notes.append(f"{_as_options(patterns)} takes out {count}; {undo}")

    def _is_unchanged(self, file: PictureFile, before: KnownFile) -> bool:
        """Return whether a known file need not be read again."""
        if (before.size, before.modified) != (file.size, file.modified):
            return False
        if before.changed not in (None, file.changed):  # other content can have the same size and mtime
            return False
        if not before.broken:
            return True
        retry = self.settings.retry_broken or before.reader != self.reader
        return not retry and (self.same_limit or "--max-megapixels" not in before.broken)

    def _check_emptied(self, changes: Iterable[RootChanges], patterns: Sequence[str], named: bool) -> None:
        """Refuse a root that was named and suddenly holds nothing, and patterns that would take out all of a root."""
        for change in changes:
            root = str(change.root)
            lost = change.missing.unseen.get(root, [])
            if self.settings.allow_empty or change.to_read or change.unchanged:
                continue
            if change.known and change.excluded == change.known and (named or self.settings.exclude is not None):
                raise InputError(
                    f"{root}: {_as_options(patterns)} passes over all {change.known:,} pictures that the library has "
                    "from it",
                    f"exclude less (--exclude '' for nothing), or: crossgraph library remove '{root}'",
                )
            if named and lost:
                raise InputError(
                    f"{root}: {change.missing.reasons[root]}, the library has {len(lost):,} from it",
                    f"mount it; or if they are really gone: crossgraph library remove '{root}'",
                )

    def _note_changes(self, change: RootChanges) -> None:
        """Note the results of a scan, but for the pictures that cannot be seen."""
        self.outcome.unchanged += change.unchanged
        self.outcome.broken += change.unusable
        self.outcome.notes += change.notes
        self.before |= change.before
        self.unread |= change.unread
        self.unread_known += change.missing.unread
        self.gone += change.missing.gone

    def _sort_unseen(self, changes: Iterable[RootChanges]) -> None:
        """Mark unseen files as gone whose pictures this run found elsewhere; keep the others and note them."""
        for change in changes:
            unseen = change.missing.unseen
            for folder, paths in unseen.items():
                is_gone = [self.settings.allow_empty or self.before[path].picture in self.moved for path in paths]
                self.gone += [path for path, gone in zip(paths, is_gone, strict=True) if gone]
                unseen[folder] = [path for path, gone in zip(paths, is_gone, strict=True) if not gone]
                self.outcome.kept += len(unseen[folder])
            self.outcome.notes += change.missing.notes("crossgraph library remove '{}'", ", then crossgraph index '{}'")
        self.outcome.kept += len(self.unread_known)
        self.outcome.notes += unread_notes(self.unread, self.unread_known)

    def _encode(self, todo: Sequence[tuple[int, PictureFile]]) -> None:
        """Read, encode and commit files in order."""
        step, begun, done = Step(), time.monotonic(), 0
        waiting: list[tuple[int, ReadFile]] = []

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
                if read.error is not None:
                    self._note_error(read.file.path, read.error)
                elif read.photo is None:
                    step.plain.append((root, read))
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

    def _note_error(self, path: str, error: OSError) -> None:
        """Note a file that could not be read: it is gone since the scan, or its picture stays."""
        if not is_gone(error):
            self.unread[path] = reason_of(error)
            self.unread_known += [path] if path in self.before else []
        elif path in self.before:
            self.gone.append(path)

    def _count(self, step: Step) -> None:
        """Add a step's files to the outcome."""
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
                self.moved |= {read.picture} if read.picture is not None else set()
            elif read.picture == before.picture:
                outcome.unchanged += 1
            else:
                outcome.updated += 1

    def _read_ahead(
        self, todo: Sequence[tuple[int, PictureFile]], loader: PictureLoader
    ) -> Iterator[tuple[int, ReadFile]]:
        """Yield files in order, read ahead by threads: Pillow decodes outside the interpreter's lock."""
        pool = ThreadPoolExecutor(self.settings.workers, thread_name_prefix="picture")
        waiting: list[tuple[int, Future[ReadFile]]] = []
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


def check_model(model: Path) -> Bundle:
    """Return a model that can encode pictures.

    Raises:
        InputError: It is neither bundle nor run, or its region encoder is unknown or not installed.
    """
    bundle = load_bundle(model)
    name = bundle.region_encoder
    if ":" not in name and name.partition("+")[0] not in REGION_ENCODERS:
        raise InputError(
            f"{model}: was trained on region features called '{name}', which cannot be computed from pictures here",
            "name a model that was trained on features of 'crossgraph extract'",
        )
    load_region_encoder(name)
    return bundle


def choose_model(named: Path | None, library_folder: Path, environment: str | None) -> Path:
    """Return which model a new library takes: the one named, $CROSSGRAPH_MODEL's, or the demo's.

    Args:
        named: By --model.
        library_folder: For the message.
        environment: $CROSSGRAPH_MODEL.

    Raises:
        InputError: There is none; the message names the two commands that make one.
    """
    demo = Path("demo") / "bundle"
    chosen = (
        named or (Path(environment) if environment else None) or (demo if (demo / "bundle.json").exists() else None)
    )
    if chosen is None:
        raise InputError(
            f"{library_folder}: no model is named, and none lies here",
            "make one with 'make demo', or with 'crossgraph train' and 'crossgraph bundle', and name it by --model",
        )
    return chosen
