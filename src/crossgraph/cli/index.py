"""`crossgraph index`: a library made equal to folders of pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from crossgraph.library import Library
    from crossgraph.library.indexer import Outcome, Report, Settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
        codes: How a new library keeps region codes (float16); int8 takes half the room and loses a little.
        keep_features: Keep region features too, so that another model can encode without reading pictures.
        reencode: Encode everything anew by --model.
        watch: Stay, and index what changes.
        batch_size: Pictures a forward pass.
        workers: Threads that read pictures.
        max_megapixels: Larger pictures are listed as broken.
    """
    from crossgraph.cli.progress import TaskProgress
    from crossgraph.library.indexer import Settings, index_pictures
    from crossgraph.library.library import Library, default_library
    from crossgraph.library.scan import check_roots

    check_roots(pictures or [])
    folder = library or default_library()
    settings = Settings(
        batch_size=batch_size,
        workers=workers,
        max_megapixels=max_megapixels,
        exclude=None if exclude is None else tuple(exclude),
        keep_features=keep_features,
        codes=codes,
    )
    if not (model or store or reencode or watch) and _by_server(folder, pictures or []):
        return
    with Library(folder, create=_is_new(folder, pictures, model)) as opened:
        with TaskProgress() as progress:
            try:
                _settle_model(opened, model, store, reencode, progress.report)
                outcome = index_pictures(opened, pictures or [], settings, progress.report)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("what was reported is kept; the same command goes on from there") from None
        _tell(opened, outcome)
        if watch:
            watch_roots(opened, pictures or list(opened.manifest.roots().values()), settings)


def _by_server(folder: Path, pictures: list[Path]) -> bool:
    """Let the server index that has the library open; tell whether there is one."""
    from crossgraph.cli.progress import TaskProgress
    from crossgraph.serve.client import find_server
    from crossgraph.serve.remote import RemoteSearcher

    running = find_server(folder)
    if running is None:
        return False
    with TaskProgress() as progress:
        outcome = RemoteSearcher(running).index(pictures, progress.report)
    print(f"{folder}: {outcome['pictures']:,} pictures, indexed by the server at {running.address}")
    return True


def _is_new(folder: Path, pictures: list[Path] | None, model: Path | None) -> bool:
    """Tell whether a library is to be made; refuse what could not be made, before anything is."""
    from crossgraph.bundle.folder import load_bundle
    from crossgraph.core.errors import InputError
    from crossgraph.library.indexer import choose_model

    if (folder / "manifest.sqlite").exists():
        return False
    if not pictures:
        raise InputError(f"{folder}: is no picture library", "make one with: crossgraph index PICTURES")
    load_bundle(choose_model(model, folder, os.environ.get("CROSSGRAPH_MODEL")))
    return True


def _settle_model(library: Library, model: Path | None, store: str | None, reencode: bool, report: Report) -> None:
    """Give a new library its model; keep an old one's unless it is to be encoded anew."""
    from crossgraph.bundle.folder import load_bundle
    from crossgraph.core.errors import InputError
    from crossgraph.library.indexer import choose_model
    from crossgraph.library.lock import writing
    from crossgraph.library.reencoding import reencode as encode_anew

    if not library.has_model:
        chosen = choose_model(model, library.folder, os.environ.get("CROSSGRAPH_MODEL"))
        with writing(library.folder):
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
    same = load_bundle(model).fingerprint == library.manifest.meta("fingerprint")
    if not same and not reencode:
        raise InputError(
            f"{library.folder}: its {library.count():,} pictures are encoded by {library.model_name}, not by {model}",
            "add --reencode to encode them anew, or leave --model out",
        )
    if not same:
        count = encode_anew(library, model, report)
        print(f"{count:,} pictures encoded anew by {model}")


def _tell(library: Library, outcome: Outcome) -> None:
    import sys

    for path, reason in outcome.broken:
        print(f"crossgraph index: left out {path}: {reason}", file=sys.stderr)
    parts = {
        "new": outcome.added,
        "renamed or copied": outcome.renamed,
        "changed": outcome.updated,
        "gone": outcome.removed,
        "as before": outcome.unchanged,
        "left out": len(outcome.broken),
    }
    said = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "nothing new"
    encoded = outcome.added + outcome.updated
    rate = f", {encoded / outcome.seconds:.0f} a second" if encoded and outcome.seconds else ""
    print(f"{library.folder}: {outcome.pictures:,} pictures ({said}; {outcome.seconds:.1f} s{rate})")


def watch_roots(library: Library, roots: list[Path], settings: Settings) -> None:
    """Index what changes, until Ctrl-C; between the runs nothing is held that another command needs."""
    import sys

    from crossgraph.core.errors import InputError
    from crossgraph.library.indexer import index_pictures
    from crossgraph.vision.region_encoder import load_region_encoder

    try:
        from watchfiles import watch
    except ImportError as error:
        raise InputError("--watch needs the package watchfiles", "pip install 'crossgraph[search]'") from error
    encoder = load_region_encoder(library.bundle.region_encoder)
    own = library.folder.resolve()
    print("watching for changes; Ctrl-C ends it", file=sys.stderr)
    library.close_store()
    begun = False
    try:
        changes = watch(
            *roots,
            watch_filter=lambda _, path: not Path(path).is_relative_to(own),  # or it would wake itself
            debounce=2000,
            rust_timeout=1000,
            yield_on_timeout=True,
            raise_interrupt=True,
        )
        for some in changes:
            if not some and begun:
                continue
            begun = True  # the first round also finds what changed before the watching began
            try:
                outcome = index_pictures(library, roots, settings, encoder=encoder)
            except InputError as error:
                print(f"crossgraph index: {error}", file=sys.stderr)
                continue
            finally:
                library.close_store()
            if outcome.added or outcome.removed or outcome.updated or outcome.renamed:
                _tell(library, outcome)
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the library is up to date") from None
