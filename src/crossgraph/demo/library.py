"""The demo's picture library: a bundle made of its SAF, and its pictures indexed by that."""

from __future__ import annotations

from pathlib import Path

from crossgraph.bundle.folder import load_bundle
from crossgraph.bundle_training.make import BundleRequest, make_bundle
from crossgraph.core.errors import InputError
from crossgraph.files import sha256
from crossgraph.library.indexer import index_pictures
from crossgraph.library.library import Library
from crossgraph.library.reencoding import reencode
from crossgraph.progress import ProgressCallback
from crossgraph.search import Query, Results, Searcher


def make_demo_bundle(run: Path, data: Path, out: Path, report: ProgressCallback) -> None:
    """Make the bundle, unless it is there from the same weights.

    Args:
        run: The re-ranker.
        data: The scenes.
        out: The bundle's folder.
        report: Hears how far it is.
    """
    try:
        if sha256(load_bundle(out).reranker.path / "model.safetensors") == sha256(run / "model.safetensors"):
            return
    except InputError:
        pass  # there is none yet, or only a part of one
    make_bundle(BundleRequest(run, data, out), log=lambda line: None, progress=lambda task: report)


def index_demo(bundle: Path, pictures: Path, out: Path, report: ProgressCallback) -> None:
    """Index the demo's pictures; what is there already stays."""
    with Library(out, create=True) as library:
        if not library.has_model:
            library.adopt(bundle)
        elif library.manifest.meta("fingerprint") != load_bundle(bundle).fingerprint:
            reencode(library, bundle, report)
        index_pictures(library, [pictures], report=report)


def ask(library: Path, sentence: str) -> Results:
    """Search the demo's library."""
    with Library(library) as opened:
        return Searcher(opened).search(Query(sentence, k=3))
