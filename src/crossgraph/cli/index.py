"""`crossgraph index`: makes a library equal to folders of pictures."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crossgraph.cli.output import log
from crossgraph.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crossgraph.library import Library
    from crossgraph.library.indexer import Outcome, ProgressCallback, Settings
    from crossgraph.vision.region_encoder import RegionEncoder

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
_NAMED = 100  # files left out that are named one by one


def index(
    pictures: list[Path] | None = None,
    *,
    library: Path | None = None,
    model: Path | None = None,
    store: str | None = None,
    exclude: list[str] | None = None,
    codes: Literal["float16", "int8"] | None = None,
    keep_features: bool = False,
    reencode: bool = False,
    watch: bool = False,
    batch_size: int = 8,
    workers: int = 3,
    max_megapixels: float = 200.0,
    retry_broken: bool = False,
) -> None:
    """Index folders of pictures, so that they can be searched.

    What is unchanged is not read again; renamed files and copies cost nothing; what is gone is taken out. Stopped
    at any moment, also by a power cut, the same command goes on. Pictures themselves are never changed.

    Args:
        pictures: Folders; none takes those that the library knows.
        library: Its folder; $CROSSGRAPH_LIBRARY, or one in your home folder.
        model: A bundle or run for a new library; else $CROSSGRAPH_MODEL, or what 'make demo' left here.
        store: Engine of a new library: edge, memory, or a Qdrant server as http://host:6333.
        exclude: Names or paths to pass over, with * and ?; the library remembers them (--exclude '' forgets).
        codes: How a new library keeps region codes (float16); int8 takes half the space and loses a little.
        keep_features: Keep region features too, so that another model can encode without reading pictures.
        reencode: Encode everything anew by --model.
        watch: Stay, and index what changes.
        batch_size: Pictures a forward pass.
        workers: Threads that read pictures.
        max_megapixels: Larger pictures are listed as broken.
        retry_broken: Read broken pictures again, also where neither they nor the decoders changed.
    """
    from crossgraph.library.indexer import Settings, index_pictures
    from crossgraph.library.library import Library, default_library
    from crossgraph.library.roots import check_roots
    from crossgraph.memory import keep_freed_memory
    from crossgraph.progress import ProgressDisplay

    check_roots(pictures or [])
    folder = library or default_library()
    settings = Settings(
        batch_size=batch_size,
        workers=workers,
        max_megapixels=max_megapixels,
        exclude=None if exclude is None else tuple(exclude),
        keep_features=keep_features,
        codes=codes,
        retry_broken=retry_broken,
    )
    if not (model or store or reencode or watch):
        own = {
            "--exclude": exclude is not None,
            "--codes": codes is not None,
            "--keep-features": keep_features,
            "--max-megapixels": max_megapixels != Settings().max_megapixels,
            "--retry-broken": retry_broken,
        }
        if _by_server(folder, pictures or [], [name for name, given in own.items() if given]):
            return
    keep_freed_memory()
    with Library(folder, create=_is_new(folder, pictures, model, store)) as opened:
        with ProgressDisplay() as progress:
            try:
                _set_model(opened, model, store, reencode, progress.update)
                outcome = index_pictures(opened, pictures or [], settings, progress.update)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("what was reported is kept; the same command goes on from there") from None
        _print_outcome(opened, outcome)
        if watch:
            roots = pictures or list(opened.manifest.roots().values())
            watch_roots(opened, roots, settings, outcome.notes)


def _by_server(folder: Path, pictures: list[Path], own: list[str]) -> bool:
    """Index by the server that has the library open; return whether there is one.

    Raises:
        InputError: Options are given that a server does not take.
    """
    from crossgraph.library.indexer import Outcome
    from crossgraph.progress import ProgressDisplay
    from crossgraph.serve.client import find_server
    from crossgraph.serve.remote import RemoteSearcher

    running = find_server(folder)
    if running is None:
        return False
    if own:
        raise InputError(
            f"{', '.join(own)}: the server at {running.address} has {folder} open, and indexes as the library is set",
            f"stop it first (process {running.pid}), or leave {'it' if len(own) == 1 else 'them'} out",
        )
    with ProgressDisplay() as progress:
        found = RemoteSearcher(running).index(pictures, progress.update)
    broken = [(one["path"], one["reason"]) for one in found.pop("broken")]
    left_out = found.pop("broken_count")
    outcome = Outcome(**found)
    _name_left_out(broken, left_out)
    _print_notes(outcome.notes)
    print(f"{folder}: {_summary(outcome, left_out)}, indexed by the server at {running.address}")
    return True


def _is_new(folder: Path, pictures: list[Path] | None, model: Path | None, store: str | None) -> bool:
    """Return whether a library is to be made; refuse what could not be made, before anything is."""
    from crossgraph.library.indexer import check_model, choose_model
    from crossgraph.library.roots import check_holds_pictures
    from crossgraph.store import check_engine

    if (folder / "manifest.sqlite").exists():
        return False
    if not pictures:
        raise InputError(f"{folder}: is no picture library", "make one with: crossgraph index PICTURES")
    check_holds_pictures(pictures)
    check_model(choose_model(model, folder, os.environ.get("CROSSGRAPH_MODEL")))
    if store is not None:
        check_engine(store)
    return True


def _set_model(
    library: Library, model: Path | None, store: str | None, reencode: bool, report: ProgressCallback
) -> None:
    """Give a new library its model; keep an old one's unless it is to be encoded anew."""
    from crossgraph.library.indexer import check_model, choose_model
    from crossgraph.library.lock import write_lock
    from crossgraph.library.reencoding import reencode as encode_anew
    from crossgraph.store import check_engine

    if not library.has_model or (library.is_empty and (model or store)):
        chosen = choose_model(model, library.folder, os.environ.get("CROSSGRAPH_MODEL"))
        check_model(chosen)
        if store is not None:
            check_engine(store)
        with write_lock(library.folder):
            library.adopt(chosen, store)
        return
    if store is not None and store != library.engine:
        raise InputError(
            f"--store {store}: {library.folder} keeps its neighbours in {library.engine}",
            "leave --store out, or index into a new library",
        )
    if reencode and model is None:
        raise InputError("--reencode without a model", "name one by --model RUN-or-BUNDLE")
    if model is None:
        return
    bundle = check_model(model)
    same = bundle.fingerprint == library.manifest.meta("fingerprint")
    if same and not library.has_model_folder:
        with write_lock(library.folder):
            library.restore_model(bundle)
        return
    if not same and not reencode:
        raise InputError(
            f"{library.folder}: its {library.count():,} pictures are encoded by {library.model_name}, not by {model}",
            "add --reencode to encode them anew, or leave --model out",
        )
    if not same:
        count = encode_anew(library, model, report)
        print(f"{count:,} pictures encoded anew by {model}")


def _print_outcome(library: Library, outcome: Outcome) -> None:
    _name_left_out(outcome.broken, len(outcome.broken))
    _print_notes(outcome.notes)
    print(f"{library.folder}: {_summary(outcome, len(outcome.broken))}")


def _name_left_out(broken: Sequence[tuple[str, str]], count: int) -> None:

    for path, reason in broken[:_NAMED]:
        log(f"crossgraph index: left out {path}: {reason}")
    if count > _NAMED:
        log(f"crossgraph index: left out {count - _NAMED:,} more")


def _print_notes(notes: Sequence[str]) -> None:

    for note in notes:
        log(f"crossgraph index: note: {note}")


def _summary(outcome: Outcome, left_out: int) -> str:
    parts = {
        "new": outcome.added,
        "renamed or copied": outcome.renamed,
        "changed": outcome.updated,
        "gone": outcome.removed,
        "as before": outcome.unchanged,
        "not seen but kept": outcome.kept,
        "left out": left_out,
    }
    nothing = "nothing new" if outcome.pictures else "no picture found: JPEG, PNG, WebP, GIF, TIFF or BMP"
    said = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or nothing
    encoded = outcome.added + outcome.updated
    rate = f", {encoded / outcome.seconds:.0f} a second" if encoded and outcome.seconds else ""
    return f"{outcome.pictures:,} pictures ({said}; {outcome.seconds:.1f} s{rate})"


def watch_roots(library: Library, roots: list[Path], settings: Settings, notes: Sequence[str] = ()) -> None:
    """Index what changes, until Ctrl-C; between the runs nothing is held that another command needs.

    Args:
        library: Whose roots they are.
        roots: Folders.
        settings: How to index.
        notes: Lines that were printed already; each run prints those that the run before did not have.
    """
    from crossgraph.vision.region_encoder import load_region_encoder

    try:
        from watchfiles import watch
    except ImportError as error:
        raise InputError("--watch needs the package watchfiles", "pip install 'crossgraph[search]'") from error
    encoder = load_region_encoder(library.bundle.region_encoder)
    own = library.folder.resolve()
    log("watching for changes; Ctrl-C ends it")
    library.close_store()
    try:
        while True:  # a watch ends where a folder goes away, or comes back as another one of that name
            marks = _marks(roots)
            present = [root for root in roots if marks[root]]
            for root in roots:
                if root not in present:
                    log(f"crossgraph index: {root} is not there; waiting for it")
            changes = watch(
                *present,
                watch_filter=lambda _, path: not Path(path).is_relative_to(own),  # or it would wake itself
                debounce=2000,
                rust_timeout=1000,
                yield_on_timeout=True,
                raise_interrupt=True,
            )
            begun = False
            for some in changes if present else _wait():
                if _marks(roots) != marks:
                    break
                if present and (some or not begun):  # the first round finds what changed before the watching began
                    notes = _index_again(library, present, settings, encoder, notes)
                begun = True
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the library is up to date") from None


def _wait() -> Iterator[set[object]]:
    """Yield nothing every second."""
    while True:
        time.sleep(1.0)
        yield set()


def _marks(roots: list[Path]) -> dict[Path, tuple[int, int] | None]:
    """Return device and inode of each folder, which tell it from another of that name; None for a missing one."""
    marks: dict[Path, tuple[int, int] | None] = {}
    for root in roots:
        try:
            found = root.stat()
            marks[root] = (found.st_dev, found.st_ino)
        except OSError:
            marks[root] = None
    return marks


def _index_again(
    library: Library, roots: list[Path], settings: Settings, encoder: RegionEncoder, shown: Sequence[str]
) -> Sequence[str]:
    """Index once more and release everything; print changes, errors and notes not shown before; return the notes."""
    from crossgraph.library.indexer import index_pictures

    try:
        outcome = index_pictures(library, roots, settings, encoder=encoder)
    except InputError as error:
        log(f"crossgraph index: {error}")
        return shown
    finally:
        library.close_store()
    _print_notes([note for note in outcome.notes if note not in shown])
    if outcome.added or outcome.removed or outcome.updated or outcome.renamed:
        _print_outcome(library, dataclasses.replace(outcome, notes=[]))
        sys.stdout.flush()
    return outcome.notes
