"""The engine of `sweep`, `table` and `versus`: checks a sweep against its data, runs what is missing, keeps cards."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.dataset import DataSet
from crossgraph.evaluate.answers import DETAILS
from crossgraph.files import check_output_file, check_output_folder, read_json, write_json
from crossgraph.provenance import typed_command
from crossgraph.sweep import cards
from crossgraph.sweep.cards import Cell, PageContent
from crossgraph.sweep.definition import Planned, Sweep, Variant, load, plan
from crossgraph.sweep.run_status import SweepPaths, check_unchanged, read_run_status, valid_card
from crossgraph.sweep.work import Row, Stage, Work
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.train import recipes
from crossgraph.train.distributed import make_fabric
from crossgraph.train.job import open_splits
from crossgraph.train.run_folder import CHECKPOINTS


@dataclass(frozen=True)
class Request:
    """What `crossgraph sweep` was asked, and what the other two commands have in common with it.

    Attributes:
        sweep: A path or a shipped name.
        data: The data folder.
        out: Folder of the runs and the table.
        features: Region features, where they lie elsewhere.
        vocab: A vocabulary file for all variants.
        split: The split that the variants are evaluated on; of `sweep` alone.
        only: Names of variants; empty for all.
        jobs: Commands at once.
        small: Whether to use the recipes' small forms.
        device: "auto", "cpu" or "cuda".
        overrides: `a.b=c` each, for all variants.
    """

    sweep: str
    data: Path
    out: Path
    features: Path | None = None
    vocab: Path | None = None
    split: str = "test"
    only: Sequence[str] = ()
    jobs: int = 1
    small: bool = False
    device: str = "auto"
    overrides: Sequence[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class PageRequest:
    """What `crossgraph table` or `crossgraph versus` was asked.

    Attributes:
        sweep: Models, data, runs, options.
        cards: Folder of the kept cards.
        page: The Markdown page.
        splits: The splits that are evaluated, the first one first.
    """

    sweep: Request
    cards: Path
    page: Path
    splits: Sequence[str]

    def check(self) -> None:
        """Check that cards and page can be written, and that each split is named once.

        Raises:
            InputError: One of them is not so.
        """
        check_output_folder(self.cards)
        check_output_file(self.page, ".md")
        if not self.splits or len(set(self.splits)) < len(self.splits):
            raise InputError(f"--splits {' '.join(self.splits)}".strip(), "name each split once")


@dataclass(frozen=True)
class CheckedSweep:
    """A sweep whose recipes and data are read and fit each other.

    Attributes:
        request: What was asked.
        path: The sweep's file.
        sweep: Its content.
        planned: Every training.
        data: The data.
        fingerprints: Of what training reads: "train", "dev", and "vocabulary" where one was named.
    """

    request: Request
    path: Path
    sweep: Sweep
    planned: list[Planned]
    data: DataSet
    fingerprints: Mapping[str, str]

    def work(self, split: str) -> Work:
        """Return what is left to train and to evaluate on a split.

        Raises:
            InputError: The split is empty, or a run was trained with something else.
        """
        request = self.request
        evaluated = self.data.split(split)
        if not evaluated.image_ids or not len(evaluated.captions):
            raise InputError(f"{request.data}: split '{split}' is empty", "choose another split")
        paths, fingerprint = SweepPaths(request.out, self.sweep, split), evaluated.fingerprint()
        features = ["--features", str(request.features)] if request.features else []
        device = [] if request.device == "auto" else ["--device", request.device]
        training = ["--small"] if request.small else []
        return Work(
            rows=self._rows(paths, self.sweep.only(request.only), fingerprint),
            paths=paths,
            fingerprint=fingerprint,
            shared=["--data", str(request.data), *features, *device],
            training=[*training, *(["--vocab", str(request.vocab)] if request.vocab else [])],
            jobs=request.jobs,
            report=log,
        )

    def _rows(self, paths: SweepPaths, wanted: Sequence[Variant], fingerprint: str) -> list[Row]:
        """Return the rows of the wanted variants, ensembles after their members."""
        rows: list[Row] = []
        for entry in self.planned:
            folder = paths.run(entry.variant, entry.seed)
            if entry.variant not in wanted:
                continue
            status = read_run_status(folder)
            check_unchanged(entry, folder, status, self.fingerprints)
            stages: list[Stage] = ["evaluate"] if status.finished else ["train", "evaluate"]
            if status.finished and valid_card(paths.card(entry.variant, entry.seed), [folder], fingerprint):
                stages = []
            rows.append(Row(entry.variant, entry.seed, stages, entry))
        for variant in (variant for variant in wanted if variant.ensemble):
            for seed in self.sweep.seeds:
                members = [row for row in rows if row.variant.name in variant.ensemble and row.seed == seed]
                trained = all("train" not in row.stages for row in members)
                card = paths.card(variant, seed)
                done = trained and valid_card(card, paths.runs(variant, seed), fingerprint)
                check_output_folder(card.parent)
                rows.append(Row(variant, seed, [] if done else ["evaluate"]))
        return rows


def check(request: Request) -> CheckedSweep:
    """Read a sweep, build its recipes and open its data; nothing is written.

    Raises:
        InputError: Something cannot be used.
    """
    if request.jobs < 1:
        raise InputError(f"--jobs is {request.jobs}", "give at least 1")
    path = recipes.find(request.sweep, sweep=True)
    sweep = load(path)
    planned = plan(sweep, path, request.overrides, request.small)
    sweep.only(request.only)
    check_output_folder(request.out)
    if any((request.out / mark).exists() for mark in (CHECKPOINTS, "run.json")):
        raise InputError(f"{request.out}: is a run itself", "give a folder for all runs of the sweep")
    make_fabric("32", request.device, 1)
    fingerprints = {"vocabulary": Vocabulary.load(request.vocab).fingerprint()} if request.vocab else {}
    splits = open_splits(request.data, request.features, log)
    fingerprints |= {"train": splits.train.fingerprint(), "dev": splits.dev.fingerprint()}
    data = open_data(request.data, request.features, log=lambda line: None)
    return CheckedSweep(request, path, sweep, planned, data, fingerprints)


class CardEngine:
    """Trains and evaluates what a page lacks, one cell after another, and keeps the cards.

    Args:
        request: What was asked.
        checked: The sweep.
        splits: All splits that are evaluated.
        by_seed: Whether cards are kept in a folder for each seed.

    Attributes:
        work: What is left to do, by split.
        page: What is known already: the content of the page.

    Raises:
        InputError: A split is empty, or a run or a kept card is of another recipe or other data.
    """

    def __init__(self, request: PageRequest, checked: CheckedSweep, splits: Sequence[str], by_seed: bool) -> None:
        self.request, self.by_seed = request, by_seed
        self.work = {split: checked.work(split) for split in splits}
        self._data = {split: checked.data.split(split) for split in splits}
        planned = {(entry.variant.name, entry.seed): entry for entry in checked.planned}
        self.page = PageContent(checked.sweep, planned, list(request.splits))
        self._trained: set[tuple[str, int]] = set()
        for (name, seed), entry in planned.items():
            for split in splits:
                if card := cards.read_kept(self._folder(seed), entry, split, self.work[split].fingerprint):
                    self.page.cards[name, seed, split] = card

    def row(self, cell: Cell) -> Row:
        """Return a cell's row; without its training where that was done for another split."""
        name, seed, split = cell
        row = next(row for row in self.work[split].rows if (row.variant.name, row.seed) == (name, seed))
        if (name, seed) in self._trained and row.stages[:1] == ["train"]:
            row.stages.pop(0)
        return row

    def commands(self, cell: Cell) -> Iterator[str]:
        """Yield the commands that a cell needs, as a person would type them; later cells count them as done."""
        row = self.row(cell)
        while row.stages:
            yield shlex.join(["crossgraph", *self.work[cell[2]].words(row)])
            row.stages.pop(0)
        self._trained.add(cell[:2])

    def measure(self, cell: Cell, details: bool = False) -> None:
        """Train and evaluate a cell where needed, and keep its card.

        Args:
            cell: Variant, seed, split.
            details: Whether the rank of each query is needed as well.

        Raises:
            InputError: A command failed.
        """
        name, seed, split = cell
        row, paths = self.row(cell), self.work[split].paths
        if not row.stages and details and not (paths.details(row.variant, seed) / DETAILS).exists():
            row.stages = ["evaluate"]
        problems = dataclasses.replace(self.work[split], rows=[row], details=details).run(lambda problems: None)
        if problems:
            raise InputError(problems[row.name])
        self._trained.add((name, seed))
        planned = self.page.planned[name, seed]
        card = read_json(paths.card(row.variant, seed))
        card["table"] = cards.describe(planned, paths, card, self._data[split])
        write_json(cards.card_path(self._folder(seed), planned, split), card)
        self.page.cards[cell] = card

    def _folder(self, seed: int) -> Path:
        return self.request.cards / f"seed-{seed}" if self.by_seed else self.request.cards


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Name the command that resumes where Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"all progress is saved; go on with: {typed_command()}") from None


def check_problems(problems: Mapping[str, str], total: int, noun: str) -> None:
    """Raise an error that names what failed, if anything did.

    Args:
        problems: Why each failed, by name.
        total: How many there were.
        noun: What they are.

    Raises:
        InputError: There are problems.
    """
    if problems:
        first, reason = next(iter(problems.items()))
        raise InputError(
            f"{len(problems)} of {total} {noun} failed ({', '.join(problems)}); {first}: {reason}",
            "the others are in the table; mend it and run the same command again",
        )


def log(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)
