"""From what was asked to a table: everything is checked before anything trains."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.scoring.places import check_folder
from crossgraph.scoring.provenance import typed_command
from crossgraph.sweep import table
from crossgraph.sweep.definition import Planned, Variant, find, load, plan
from crossgraph.sweep.standing import Places, alone, look, refuse_changed, valid_card
from crossgraph.sweep.work import Row, Stage, Work, key
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.train.distributed import make_fabric
from crossgraph.train.job import Sources, open_splits
from crossgraph.train.run_folder import CHECKPOINTS


@dataclass(frozen=True)
class Request:
    """What `crossgraph sweep` was asked.

    Attributes:
        sweep: A path or a shipped name.
        data: The data folder.
        out: Folder of the runs and the table.
        features: Region features, where they lie elsewhere.
        vocab: A vocabulary file for all variants.
        split: What the variants are evaluated on.
        only: Names of variants; empty for all.
        jobs: Commands beside each other.
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
class Checked:
    """A sweep whose parts fit each other, ready to run.

    Attributes:
        places: Where everything lies.
        work: What is left to do.
        fingerprint: Of the split that is evaluated.
    """

    places: Places
    work: Work
    fingerprint: str


def run(request: Request) -> None:
    """Train and evaluate what is missing, and print the table.

    Raises:
        InputError: Something given cannot be used, and nothing was trained; or some variants failed, and the
            table tells which and why.
        KeyboardInterrupt: Ctrl-C; what ran has saved.
    """
    checked = check(request)

    def refresh(problems: Mapping[str, str]) -> str:
        return table.write(table.collect(checked.places, checked.fingerprint, problems), checked.places)

    with alone(request.out):
        refresh({})
        try:
            problems = checked.work.run(refresh)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"all progress is saved; go on with: {typed_command()}") from None
        print(refresh(problems), end="")
    _say(f"table: {request.out / _stem(request.split)}.md, .json and .csv")
    if problems:
        first, reason = next(iter(problems.items()))
        names = ", ".join(problems)
        raise InputError(
            f"{len(problems)} of {len(checked.work.rows)} variants failed ({names}); {first}: {reason}",
            "the others are in the table; mend it and run the same command again",
        )


def show(request: Request) -> None:
    """Print what `run` would do, and touch nothing.

    Raises:
        InputError: As `run` before it trains.
    """
    work = check(request).work
    for row in work.rows:
        print(f"{key(row.variant, row.seed)}: {' and '.join(row.stages) or 'nothing left to do'}")
        for _ in row.stages:
            print(f"  {shlex.join(['crossgraph', *work.words(row)])}")
            row.stages = row.stages[1:]


def check(request: Request) -> Checked:
    """Read and build everything that a sweep needs, and look at what its folder holds already.

    Raises:
        InputError: Something cannot be used.
    """
    if request.jobs < 1:
        raise InputError(f"--jobs is {request.jobs}", "give at least 1")
    path = find(request.sweep)
    sweep = load(path)
    planned = plan(sweep, path, request.overrides, request.small)
    wanted = sweep.only(request.only)
    check_folder(request.out)
    if any((request.out / mark).exists() for mark in (CHECKPOINTS, "run.json")):
        raise InputError(f"{request.out}: is a run itself", "give a folder for all runs of the sweep")
    make_fabric("32", request.device, 1)
    words = {"vocabulary": Vocabulary.load(request.vocab).fingerprint()} if request.vocab else {}
    splits = open_splits(Sources(request.data, request.features), _say)
    evaluated = open_data(request.data, request.features, log=_silence).split(request.split)
    if not evaluated.image_ids or not len(evaluated.captions):
        raise InputError(f"{request.data}: split '{request.split}' is empty", "choose another split")
    read = {**words, "train": splits.train.fingerprint(), "dev": splits.dev.fingerprint()}
    places = Places(request.out, sweep, request.split)
    rows = _rows(places, planned, wanted, read, evaluated.fingerprint())
    features = ["--features", str(request.features)] if request.features else []
    device = [] if request.device == "auto" else ["--device", request.device]
    training = ["--small"] if request.small else []
    training += ["--vocab", str(request.vocab)] if request.vocab else []
    work = Work(
        rows=rows,
        places=places,
        shared=["--data", str(request.data), *features, *device],
        training=training,
        jobs=request.jobs,
        say=_say,
    )
    return Checked(places, work, evaluated.fingerprint())


def _rows(
    places: Places, planned: Sequence[Planned], wanted: Sequence[Variant], read: Mapping[str, str], fingerprint: str
) -> list[Row]:
    """Tell what is left to do for every row that is wanted, members of ensembles before these."""
    rows: list[Row] = []
    for entry in planned:
        folder = places.run(entry.variant, entry.seed)
        if entry.variant not in wanted:
            continue
        standing = look(folder)
        refuse_changed(entry, folder, standing, read)
        stages: list[Stage] = ["evaluate"] if standing.state == "finished" else ["train", "evaluate"]
        if standing.state == "finished" and valid_card(places.card(entry.variant, entry.seed), [folder], fingerprint):
            stages = []
        rows.append(Row(entry.variant, entry.seed, stages, entry))
    for variant in (variant for variant in wanted if variant.ensemble):
        for seed in places.sweep.seeds:
            members = [row for row in rows if row.variant.name in variant.ensemble and row.seed == seed]
            trained = all("train" not in row.stages for row in members)
            card = places.card(variant, seed)
            done = trained and valid_card(card, places.runs(variant, seed), fingerprint)
            check_folder(card.parent)
            rows.append(Row(variant, seed, [] if done else ["evaluate"]))
    return rows


def _stem(split: str) -> str:
    return "table" if split == "test" else f"table-{split}"


def _silence(line: str) -> None:
    """Drop a line that was said before."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
