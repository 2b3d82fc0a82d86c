"""Encode a folder of pictures into feature shards by a region encoder.

Broken pictures are listed and never stop the run. A run that was stopped, also by kill -9, goes on at the
last whole shard when it is started again, and its outcome equals an undisturbed run's: batches never
straddle a shard, so that the same pictures always meet in the same batch.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import deque
from collections.abc import Collection, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crossgraph import files
from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, MegapixelLimit, Size
from crossgraph.data.manifest import MANIFEST, EncoderInfo, Picture
from crossgraph.data.shards import ShardWriter
from crossgraph.progress import ProgressCallback, ignore_progress
from crossgraph.vision.missing import Missing, find_missing, unread_notes
from crossgraph.vision.pictures import DEFAULT_MEGAPIXELS, BrokenPicture, LoadedPicture, PictureLoader
from crossgraph.vision.region_encoder import RegionEncoder, picture_loader
from crossgraph.vision.scan import Scan, find_pictures, id_below, ignored_note, is_gone, printable, reason_of


@dataclass(frozen=True)
class Outcome:
    """The result of an extraction.

    Attributes:
        pictures: Pictures the feature folder now holds.
        extracted: Those of them that this run encoded; the others were there already.
        dropped: Pictures that the folder held and that are no longer among the pictures.
        broken: (id, reason) of the pictures that could not be used, sorted by id.
        notes: Lines about folders that could not be read, hold nothing now or were passed over.
        regions: Regions of a picture.
        feature_size: Width of a region's vector.
        bytes: Size of the shards.
        seconds: Time spent on loading and encoding.
    """

    pictures: int
    extracted: int
    dropped: int
    broken: list[tuple[str, str]]
    notes: list[str]
    regions: int
    feature_size: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Settings(CheckedSettings, prefix="--"):
    """Settings of an extraction; none of them changes the features of a picture.

    Attributes:
        batch_size: Pictures a forward pass; small ones stay in a processor's cache.
        workers: Threads that read pictures ahead of the encoder.
        max_megapixels: Larger pictures are listed as broken.
        shard_rows: Pictures a shard holds; a stop loses at most so many.
    """

    batch_size: Size = 4
    workers: Size = 2
    max_megapixels: MegapixelLimit = DEFAULT_MEGAPIXELS
    shard_rows: int = 256


def extract_features(
    pictures: Path,
    out: Path,
    encoder: RegionEncoder,
    settings: Settings | None = None,
    report: ProgressCallback = ignore_progress,
) -> Outcome:
    """Extract the regions of all pictures of a folder; the feature folder mirrors the picture folder.

    Pictures whose bytes are unchanged since an earlier run into the same folder are not encoded again.

    Args:
        pictures: A folder of pictures, or one picture.
        out: The feature folder.
        encoder: What turns a picture into regions.
        settings: Batch size, workers and limits.
        report: Called with the progress.

    Raises:
        InputError: No picture could be used; `out` cannot be written, is being written by another process,
            or holds another encoder's features or other pictures; the disk is full.
    """
    settings = settings or Settings()
    scan = find_pictures(pictures)
    info = EncoderInfo(encoder.name, encoder.sha256, encoder.feature_size, encoder.regions, encoder.grid)
    is_new = not out.exists()
    _check_out(out)
    start = time.monotonic()
    writer = ShardWriter(out, info, settings.shard_rows)
    try:
        before = dict(writer.done)
        missing = _missing(scan, before)
        _check_same_pictures(pictures, scan, out, before, missing)
        kept, unread = _unchanged(scan, before, settings, report)
        todo = {name: path for name, path in scan.pictures.items() if name not in kept and name not in unread}
        _check_disk_space(out, len(todo) * encoder.regions * (2 * encoder.feature_size + 16))
        fresh, failed = _encode_all(todo, encoder, writer, settings, report)
        writer.flush()
        unseen, notes = _not_seen(scan, missing, unread, {writer.done[name] for name in fresh}, before)
        broken = sorted([*scan.broken, *failed])
        held = sorted([*kept, *fresh, *unseen])
        if not held:
            raise _nothing_usable(pictures, broken, notes)
        writer.finish(held, sorted([*broken, *_unread_new(scan, held)]))
    finally:
        writer.close()
        if is_new:
            _remove_if_empty(out)
    return Outcome(
        pictures=len(held),
        extracted=len(fresh),
        dropped=len(before.keys() - scan.pictures.keys() - set(held)),
        broken=broken,
        notes=notes,
        regions=encoder.regions,
        feature_size=encoder.feature_size,
        bytes=sum(file.stat().st_size for file in out.glob("*.npy")),
        seconds=time.monotonic() - start,
    )


def _check_out(out: Path) -> None:
    """Refuse an output folder that holds other things: a run, the pictures themselves."""
    if not out.is_dir():
        if out.exists():
            raise InputError(f"{out}: is a file", "give a folder for --out")
        return
    names = [entry.name for entry in out.iterdir() if not entry.name.startswith(".")]
    ours = [name for name in names if name == MANIFEST or name.startswith(("shard-", "features-", "boxes-"))]
    if names and not ours:
        raise InputError(f"{out}: holds other files ({min(names)}) and no features", "give a new folder for --out")


def _missing(scan: Scan, before: Mapping[str, str]) -> Missing:
    """Return which pictures with features were not found, by their paths."""
    if scan.folder is None:
        return Missing(gone=[name for name in before if name not in scan.pictures])
    return find_missing(scan.folder, [str(Path(scan.folder.root, name)) for name in before])


def _not_seen(
    scan: Scan, missing: Missing, unread: Mapping[str, str], moved: Collection[str], before: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return the ids whose features stay though their pictures cannot be seen or read now, and lines that say so.

    Args:
        scan: Of the pictures.
        missing: Pictures with features that it did not find.
        unread: Paths of pictures with features that could not be opened, with the reason.
        moved: Digests of pictures that this run has encoded: one of these is not missing.
        before: Digests of the pictures with features.
    """
    if scan.folder is None:
        return list(unread), unread_notes(unread, unread)
    root = Path(scan.folder.root)
    for folder, paths in missing.unseen.items():
        missing.unseen[folder] = [path for path in paths if before[id_below(root, path)] not in moved]
    could_not = {**scan.folder.unread, **{str(root / name): reason for name, reason in unread.items()}}
    known = [*missing.unread, *(str(root / name) for name in unread)]
    notes = [*ignored_note(scan.folder), *missing.notes("delete '{}'"), *unread_notes(could_not, known)]
    kept = [*known, *(path for paths in missing.unseen.values() for path in paths)]
    return [id_below(root, path) for path in kept], notes


def _unread_new(scan: Scan, held: Collection[str]) -> list[tuple[str, str]]:
    """Return (id, reason) of what could not be asked and has no features."""
    if scan.folder is None:
        return []
    root, known = Path(scan.folder.root), set(held)
    names = ((printable(id_below(root, path)), reason) for path, reason in scan.folder.unread.items())
    return [(name, reason) for name, reason in names if name not in known]


def _nothing_usable(pictures: Path, broken: Sequence[tuple[str, str]], notes: Sequence[str]) -> InputError:
    if not broken:
        return InputError(notes[-1], "mount it, or check the permissions")
    name, reason = broken[0]
    many = f"none of {len(broken):,} pictures can be used, the first being {name}: " if len(broken) > 1 else ""
    return InputError(f"{pictures}: {many}{reason}", "check that these are pictures")


def _check_same_pictures(pictures: Path, scan: Scan, out: Path, before: Mapping[str, str], missing: Missing) -> None:
    """Refuse to replace the features of another set of pictures."""
    root = Path(scan.folder.root) if scan.folder else None
    gone = {name if root is None else id_below(root, name) for name in missing.gone}
    lost = gone - {name for name, _ in scan.broken}
    if len(lost) == len(before) > 0 or (lost and scan.folder is None):
        raise InputError(
            f"{out}: holds features of {len(before):,} other pictures ('{min(lost)}', ...), not of those in {pictures}",
            "choose another --out folder",
        )


def _check_disk_space(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out).free
    if needed > free:
        raise InputError(
            f"{out}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free on this disk",
            "free some disk space or choose another --out folder",
        )


def _unchanged(
    scan: Scan, before: Mapping[str, str], settings: Settings, report: ProgressCallback
) -> tuple[set[str], dict[str, str]]:
    """Return the ids whose files have the digest that they were encoded with, and those that cannot be read now."""
    known = [name for name in scan.pictures if name in before]

    def digest(name: str) -> str | OSError:
        try:
            return files.sha256(scan.pictures[name])
        except OSError as error:
            return error

    kept: set[str] = set()
    unread: dict[str, str] = {}
    with ThreadPoolExecutor(settings.workers) as pool:
        for done, (name, found) in enumerate(zip(known, pool.map(digest, known), strict=True), start=1):
            if found == before[name]:
                kept.add(name)
            elif isinstance(found, OSError) and not is_gone(found):
                unread[name] = reason_of(found)
            report("checking", done, len(known))
    return kept, unread


def _encode_all(
    todo: Mapping[str, Path], encoder: RegionEncoder, writer: ShardWriter, settings: Settings, report: ProgressCallback
) -> tuple[list[str], list[tuple[str, str]]]:
    """Encode and append pictures in order; return the ids of those that worked, and the broken ones."""
    fresh: list[str] = []
    broken: list[tuple[str, str]] = []
    batch: list[tuple[str, LoadedPicture]] = []
    filled = 0  # rows of the current shard, those of the batch included

    def encode_batch() -> None:
        nonlocal filled
        good, bad = _encode(batch, encoder, writer)
        fresh.extend(good)
        broken.extend(bad)
        filled -= len(bad)
        batch.clear()

    with picture_loader(encoder, settings.max_megapixels) as loader:
        with contextlib.closing(_load_ahead(todo, loader, settings)) as loaded:
            for done, (name, picture) in enumerate(loaded, start=1):
                if isinstance(picture, BrokenPicture):
                    broken.append((name, str(picture)))
                else:
                    batch.append((name, picture))
                    filled += 1
                if batch and (len(batch) == settings.batch_size or filled == settings.shard_rows):
                    encode_batch()
                    filled %= settings.shard_rows
                report("extracting", done, len(todo))
        if batch:
            encode_batch()
    return fresh, broken


def _encode(
    batch: list[tuple[str, LoadedPicture]], encoder: RegionEncoder, writer: ShardWriter
) -> tuple[list[str], list[tuple[str, str]]]:
    regions = encoder.encode(torch.from_numpy(np.stack([picture.pixels for _, picture in batch])))
    if regions.boxes is None:
        raise ValueError(f"region encoder {encoder.name} gave no boxes")
    fits = torch.isfinite(regions.features.to(torch.float16)).flatten(1).all(dim=1).tolist()
    good: list[str] = []
    bad: list[tuple[str, str]] = []
    for row, (name, picture) in enumerate(batch):
        if not fits[row]:
            bad.append((name, "its features are not finite numbers within float16"))
            continue
        entry = Picture(name, picture.width, picture.height, picture.sha256)
        writer.append(entry, regions.features[row].numpy(), regions.boxes[row].numpy())
        good.append(name)
    return good, bad


def _load_ahead(
    todo: Mapping[str, Path], loader: PictureLoader, settings: Settings
) -> Generator[tuple[str, LoadedPicture | BrokenPicture], None, None]:
    """Load pictures in order, some of them ahead, by threads: Pillow decodes outside the interpreter's lock.

    Threads rather than processes, since none of them can outlive a killed run and hold the folder's lock.
    """

    def load(path: Path) -> LoadedPicture | BrokenPicture:
        try:
            return loader.load(path)
        except BrokenPicture as reason:
            return reason

    waiting: deque[tuple[str, Future[LoadedPicture | BrokenPicture]]] = deque()
    pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="picture")
    try:
        for name, path in todo.items():
            waiting.append((name, pool.submit(load, path)))
            if len(waiting) > settings.batch_size + 2 * settings.workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for name, future in waiting:
            yield name, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _remove_if_empty(out: Path) -> None:
    """Remove the folder that this run made, if nothing was written to it."""
    with contextlib.suppress(OSError):
        if [entry.name for entry in out.iterdir()] == [".lock"]:
            (out / ".lock").unlink()
            out.rmdir()
