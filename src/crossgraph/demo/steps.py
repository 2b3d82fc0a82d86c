"""The steps of `crossgraph demo`, in order; each is skipped or resumed where an earlier call finished or left it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crossgraph.bundle.folder import load_bundle
from crossgraph.bundle_training.make import BundleRequest, make_bundle
from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.extraction import extract_features
from crossgraph.data.scenes import Settings, write_scenes
from crossgraph.demo.measures import mean_scores, measure, score_baselines, score_models
from crossgraph.demo.report import Reporter
from crossgraph.demo.retrieved import draw_sheet, retrieve
from crossgraph.demo.training import train_all
from crossgraph.files import sha256
from crossgraph.library.indexer import index_pictures
from crossgraph.library.library import Library
from crossgraph.library.reencoding import reencode
from crossgraph.progress import ProgressDisplay
from crossgraph.report.writer import ReportRequest, write_report
from crossgraph.sweep.cards import format_duration
from crossgraph.vision.region_encoder import load_region_encoder

RECIPES = {"sgr": "sgraf-sgr-scenes", "saf": "sgraf-saf-scenes"}
ENSEMBLE = "SGR + SAF"
_STEPS = 8


def run_demo(
    out: Path, settings: Settings, training_options: list[str], display: ProgressDisplay, log: Callable[[str], None]
) -> None:
    """Run all steps, from nothing to tables, a page and a library that can be searched.

    Args:
        out: Folder for everything.
        settings: Of the scenes.
        training_options: Options of `crossgraph train` beside recipe, data and folder.
        display: Shows progress.
        log: Takes lines.

    Raises:
        InputError: The folder holds something else, a package is missing, or the disk is full.
    """
    seconds: dict[str, float] = {}
    scenes, runs = out / "scenes", out / "runs"

    @contextmanager
    def step(name: str, content: str) -> Iterator[None]:
        """Announce, number and time a step."""
        number = f"{len(seconds) + 1}/{_STEPS} {name}"
        log(f"{number}: {content}")
        begun = time.monotonic()
        yield
        seconds[name] = time.monotonic() - begun
        log(f"{number}: {format_duration(seconds[name])}")

    with step("drawing", f"{settings.count:,} captioned pictures"):
        write_scenes(scenes, settings, display.update)
    with step("extracting", "pictures to 49 regions each"):
        extract_features(scenes / "pictures", scenes / "features", load_region_encoder(), report=display.update)
    with step("training", "a small SGR and a small SAF, beside each other"):
        train_all(RECIPES, scenes, runs, training_options, log)
    with step("scoring", "every test picture with every sentence, by both models and the baselines"):
        data = open_data(scenes, log=_ignore)
        models = score_models(runs, tuple(RECIPES), data, out / "scores", display.for_task)
        baselines = score_baselines(data, out / "scores")
    with step("measuring", "recall with intervals, pairs told apart"):
        hard, cards = data.split("hard"), out / "cards"
        rows = [measure(name, [paths], scenes, hard, cards) for name, paths in baselines.items()]
        rows += [measure(name.upper(), [paths], scenes, hard, cards) for name, paths in models.items()]
        rows.append(measure(ENSEMBLE, list(models.values()), scenes, hard, cards))
        results = retrieve(mean_scores([paths["test"] for paths in models.values()]), data.split("test"))
        draw_sheet(results, out / "found.png")
    with step("reporting", "figures, curves, and what each word looked at, on one page"):
        files = [models[name]["test"] for name in RECIPES]
        job = ReportRequest([runs / name for name in RECIPES], out / "report.html", scenes, scores=files)
        write_report(job, _ignore, display.for_task)
    with step("bundling", "SAF made ready for search: an index head, short-list sizes, probabilities"):
        if not _is_bundle_of(out / "bundle", runs / "saf"):
            make_bundle(
                BundleRequest(runs / "saf", scenes, out / "bundle"), _ignore, lambda task: display.for_task("bundling")
            )
    with step("indexing", "the pictures, for search"), Library(out / "library", create=True) as library:
        if not library.has_model:
            library.adopt(out / "bundle")
        elif library.manifest.meta("fingerprint") != load_bundle(out / "bundle").fingerprint:
            reencode(library, out / "bundle", display.update)
        index_pictures(library, [scenes / "pictures"], report=display.update)
    reporter = Reporter()
    reporter.tables(rows)
    reporter.retrieved(results, out / "found.png")
    reporter.closing(out, results, seconds)


def _is_bundle_of(bundle: Path, run: Path) -> bool:
    """Return whether a bundle is whole and of the run's present weights."""
    try:
        return sha256(load_bundle(bundle).reranker.path / "model.safetensors") == sha256(run / "model.safetensors")
    except InputError:
        return False


def _ignore(line: str) -> None:
    """Do nothing: the demo prints its own lines."""
