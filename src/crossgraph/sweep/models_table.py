"""A table of models: each trained with one budget, evaluated on several splits, its cards kept as they end."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.split import Split
from crossgraph.files import read_json, write_json, write_text
from crossgraph.scoring.places import check_file, check_folder
from crossgraph.scoring.provenance import typed_command
from crossgraph.sweep import cells, results_page
from crossgraph.sweep.command import Checked, Request, check
from crossgraph.sweep.definition import Planned, find, load, plan
from crossgraph.sweep.standing import alone
from crossgraph.sweep.work import Row, key


@dataclass(frozen=True)
class TableRequest:
    """What `crossgraph table` was asked.

    Attributes:
        sweep: Models, data, runs, options; its split is not read.
        cards: Folder of the kept cards.
        page: The Markdown page.
        splits: What is evaluated, the first one first.
    """

    sweep: Request
    cards: Path
    page: Path
    splits: Sequence[str]


@dataclass
class _Table:
    """A table under way.

    Attributes:
        request: What was asked.
        title: Of the page.
        planned: Every model's training, in the table's order.
        checked: What is left to do, by split.
        splits: The data, by split.
        cards: The kept cards by name and split.
        problems: Why a model failed, by its name.
    """

    request: TableRequest
    title: str
    planned: list[Planned]
    checked: dict[str, Checked]
    splits: dict[str, Split]
    cards: dict[tuple[str, str], dict[str, Any]]
    problems: dict[str, str] = field(default_factory=dict[str, str])

    def missing(self) -> list[tuple[Planned, list[str]]]:
        """Return the models that were asked for and the splits that they have no card of."""
        wanted = {row.variant.name for checked in self.checked.values() for row in checked.work.rows}
        found = [
            (planned, [split for split in self.checked if (planned.variant.name, split) not in self.cards])
            for planned in self.planned
            if planned.variant.name in wanted
        ]
        return [(planned, splits) for planned, splits in found if splits]

    def row(self, planned: Planned, split: str) -> Row:
        """Return what a cell's way to its card looks like."""
        return next(row for row in self.checked[split].work.rows if row.variant == planned.variant)

    def write(self) -> str:
        """Write the page from the kept cards, and return it."""
        text = results_page.markdown(
            results_page.Page(self.title, self.planned, list(self.checked), self.cards, self.problems)
        )
        write_text(self.request.page, text)
        return text


def run(request: TableRequest) -> None:
    """Train and evaluate what has no card yet, keep its cards, and write the page after each.

    Raises:
        InputError: Something given cannot be used, and nothing was trained; or some models failed.
        KeyboardInterrupt: Ctrl-C; what ran has saved.
    """
    table = _check(request)
    with alone(request.sweep.out):
        text = table.write()
        for planned, splits in table.missing():
            try:
                _do(table, planned, splits)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"all progress is saved; go on with: {typed_command()}") from None
            text = table.write()
    print(text, end="")
    if table.problems:
        name, reason = next(iter(table.problems.items()))
        raise InputError(
            f"{len(table.problems)} of {len(table.planned)} models failed ({', '.join(table.problems)}); "
            f"{name}: {reason}",
            "the others are in the table; mend it and run the same command again",
        )


def show(request: TableRequest) -> None:
    """Print what `run` would do, and touch nothing.

    Raises:
        InputError: As `run` before it trains.
    """
    table = _check(request)
    for planned, splits in table.missing():
        print(f"{planned.variant.name}: {' and '.join(splits)}")
        trained = False
        for split in splits:
            row = table.row(planned, split)
            if trained and row.stages[:1] == ["train"]:
                row.stages.pop(0)
            while row.stages:
                print(f"  {shlex.join(['crossgraph', *table.checked[split].work.words(row)])}")
                row.stages.pop(0)
            trained = True
    print(f"{len(table.cards)} of {len(table.planned) * len(table.checked)} cards are there")


def _do(table: _Table, planned: Planned, splits: Sequence[str]) -> None:
    """Train one model where needed, evaluate it on splits, and keep the cards."""
    trained = False
    for split in splits:
        work, row = table.checked[split].work, table.row(planned, split)
        if trained and row.stages[:1] == ["train"]:
            row.stages.pop(0)
        problems = dataclasses.replace(work, rows=[row]).run(_nothing)
        try:
            if problems:
                raise InputError(problems[key(row.variant, row.seed)], "")
            _keep(table, planned, split)
        except InputError as error:
            table.problems[planned.variant.name] = error.problem
            return
        trained = True
        table.write()


def _keep(table: _Table, planned: Planned, split: str) -> None:
    places = table.checked[split].places
    card = read_json(places.card(planned.variant, planned.seed))
    card["table"] = cells.describe(planned, places, card, table.splits[split])
    write_json(cells.place(table.request.cards, planned, split), card)
    table.cards[planned.variant.name, split] = card


def _check(request: TableRequest) -> _Table:
    """Read and build everything that a table needs before any of it is worked on."""
    asked = request.sweep
    check_folder(request.cards)
    check_file(request.page, ".md")
    if not request.splits or len(set(request.splits)) < len(request.splits):
        raise InputError(f"--splits {' '.join(request.splits)}".strip(), "name each split once")
    path = find(asked.sweep)
    sweep = load(path)
    planned = plan(sweep, path, asked.overrides, asked.small)
    if len(sweep.seeds) > 1 or len(planned) < len(sweep.variants):
        what = "several seeds" if len(sweep.seeds) > 1 else "ensembles"
        raise InputError(f"{path}: a table of models has no {what}", f"crossgraph sweep {asked.sweep}")
    checked = {split: check(dataclasses.replace(asked, split=split)) for split in request.splits}
    data = open_data(asked.data, asked.features, log=_nothing)
    cards: dict[tuple[str, str], dict[str, Any]] = {}
    for split in request.splits:
        for entry in planned:
            if card := cells.kept(request.cards, entry, split, checked[split].fingerprint):
                cards[entry.variant.name, split] = card
    splits = {split: data.split(split) for split in request.splits}
    _tell(planned, cards, request.splits)
    return _Table(request, sweep.title, planned, checked, splits, cards)


def _tell(planned: Sequence[Planned], cards: Mapping[tuple[str, str], Any], splits: Sequence[str]) -> None:
    print(f"{len(cards)} of {len(planned) * len(splits)} cards are there", file=sys.stderr, flush=True)


def _nothing(_: object) -> None:
    """Drop what was said before."""
