"""The steps of the demo, in order; each is skipped or taken up where an earlier call left it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crossgraph.data import open_data
from crossgraph.data.extraction import extract_features
from crossgraph.data.scenes import Settings, write_scenes
from crossgraph.demo.found import draw_sheet, find
from crossgraph.demo.library import index_demo, make_demo_bundle
from crossgraph.demo.numbers import mean_scores, measure
from crossgraph.demo.report import Reporter, duration
from crossgraph.demo.scoring import score_baselines, score_models
from crossgraph.demo.training import train_all
from crossgraph.progress import ProgressCallback
from crossgraph.report.job import ReportJob, write_report
from crossgraph.vision.region_encoder import load_region_encoder

RECIPES = {"sgr": "sgraf-sgr-scenes", "saf": "sgraf-saf-scenes"}
ENSEMBLE = "SGR + SAF"
_STEPS = 8


@dataclass(frozen=True)
class Progress:
    """What the steps tell of how far they are.

    Attributes:
        count: Told a task's name, how much is done, and of how much.
        say: Prints a line.
    """

    count: Callable[[str, int, int], None]
    say: Callable[[str], None]

    def about(self, task: str) -> ProgressCallback:
        """Return what hears of one scoring."""
        return lambda what, done, total: self.count(f"{task}: {what}", done, total)


def run_demo(out: Path, settings: Settings, training_options: list[str], progress: Progress) -> None:
    """Go the whole way from nothing to tables, a page and a library that can be searched.

    Args:
        out: Folder for everything.
        settings: Of the scenes.
        training_options: What `crossgraph train` is told beside recipe, data and folder.
        progress: Hears how far it is.

    Raises:
        InputError: The folder holds something else, a package is missing, or the disk is full.
    """
    seconds: dict[str, float] = {}
    steps = _Steps(seconds, progress.say)
    scenes = out / "scenes"
    with steps("drawing", f"{settings.count:,} captioned pictures"):
        write_scenes(scenes, settings, lambda done, total: progress.count("drawing", done, total))
    with steps("extracting", "pictures to 49 regions each"):
        extract_features(scenes / "pictures", scenes / "features", load_region_encoder(), report=progress.count)
    with steps("training", "a small SGR and a small SAF, beside each other"):
        train_all(RECIPES, scenes, out / "runs", training_options, progress.say)
    with steps("scoring", "every test picture with every sentence, by both models and the baselines"):
        data = open_data(scenes, log=lambda line: None)
        models = score_models(out / "runs", tuple(RECIPES), data, out / "scores", progress.about)
        baselines = score_baselines(data, out / "scores")
    with steps("measuring", "recall with intervals, pairs told apart"):
        hard, cards = data.split("hard"), out / "cards"
        rows = [measure(name, [paths], scenes, hard, cards) for name, paths in baselines.items()]
        rows += [measure(name.upper(), [paths], scenes, hard, cards) for name, paths in models.items()]
        rows.append(measure(ENSEMBLE, list(models.values()), scenes, hard, cards))
        found = find(mean_scores([paths["test"] for paths in models.values()]), data.split("test"))
        draw_sheet(found, out / "found.png")
    with steps("reporting", "figures, curves, and what each word looked at, on one page"):
        runs = [out / "runs" / name for name in RECIPES]
        files = [models[name]["test"] for name in RECIPES]
        write_report(ReportJob(runs, out / "report.html", scenes, scores=files), lambda line: None, progress.about)
    with steps("bundling", "SAF made ready for search: an index head, short-list sizes, probabilities"):
        make_demo_bundle(out / "runs" / "saf", scenes, out / "bundle", progress.about("bundling"))
    with steps("indexing", "the pictures, for search"):
        index_demo(out / "bundle", scenes / "pictures", out / "library", progress.count)
    reporter = Reporter()
    reporter.tables(rows)
    reporter.findings(found, out / "found.png")
    reporter.closing(out, found, seconds)


class _Steps:
    """Announces the steps, counts and times them."""

    def __init__(self, seconds: dict[str, float], say: Callable[[str], None]) -> None:
        self._seconds, self._say = seconds, say

    @contextmanager
    def __call__(self, name: str, what: str) -> Iterator[None]:
        number = len(self._seconds) + 1
        self._say(f"{number}/{_STEPS} {name}: {what}")
        begun = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - begun
        self._say(f"{number}/{_STEPS} {name}: {duration(self._seconds[name])}")
