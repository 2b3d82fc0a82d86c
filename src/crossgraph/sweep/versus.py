"""Variants of a method against a baseline: one of them is chosen on dev, and only then both are measured, once.

    1. every variant and the baseline, first seed      trained, evaluated on dev        cards/seed-0/NAME-dev.json
    2. the variant with the highest rSum on dev         written down                     cards/choice.json
    3. that one and the baseline, every seed            trained, evaluated elsewhere     cards/seed-N/NAME-SPLIT.json
    4. the two on the same queries                      paired, by seed and together     cards/comparison-SPLIT.json

The page is made from these files alone. A choice stands: with other variants or recipes than those it was made among
everything is refused, since what was seen on other splits could have led to them.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.split import Split
from crossgraph.evaluate.answers import DETAILS, Answers, read_details
from crossgraph.files import read_json, write_json
from crossgraph.scoring.places import check_file, check_folder
from crossgraph.scoring.provenance import typed_command
from crossgraph.sweep import cells, paired_seeds, versus_page
from crossgraph.sweep.command import Checked, Request, check
from crossgraph.sweep.definition import Planned, Sweep, find, load, plan
from crossgraph.sweep.standing import alone
from crossgraph.sweep.versus_page import DEV, Cell, Page
from crossgraph.sweep.work import Row, key

CHOICE = "choice.json"


@dataclass(frozen=True)
class VersusRequest:
    """What `crossgraph versus` was asked.

    Attributes:
        sweep: Variants, data, runs, options; its split, its `only` and its jobs are not read.
        cards: Folder of the kept cards, the choice and the comparisons.
        page: The Markdown page.
        splits: What the chosen variant and the baseline are measured on.
    """

    sweep: Request
    cards: Path
    page: Path
    splits: Sequence[str]


@dataclass
class _Contest:
    """A contest under way.

    Attributes:
        request: What was asked.
        sweep: The variants, and which is the baseline.
        planned: Every training, by variant and seed.
        checked: What is left to do, by split.
        splits: The data, by split.
        page: What is known already.
    """

    request: VersusRequest
    sweep: Sweep
    planned: dict[tuple[str, int], Planned]
    checked: dict[str, Checked]
    splits: dict[str, Split]
    page: Page

    @property
    def first(self) -> int:
        """The seed that the choice is made with."""
        return self.sweep.seeds[0]

    def write(self) -> str:
        """Write the page from what is known, and return it."""
        return versus_page.write(self.page, self.request.page)

    def missing(self, phase: str) -> Iterator[Cell]:
        """Walk over the cells without a card: "dev", or those that a choice opens ("rest")."""
        if phase == DEV:
            wanted = [(variant.name, self.first, DEV) for variant in self.sweep.variants]
        else:
            two = [self.sweep.baseline, self.page.chosen]
            wanted = [(name, seed, split) for seed in self.sweep.seeds for name in two for split in self.request.splits]
        yield from (cell for cell in wanted if cell not in self.page.cards)


def run(request: VersusRequest) -> None:
    """Do what is missing, in order, and write the page after each step.

    Raises:
        InputError: Something given cannot be used, and nothing was trained; or a training failed.
        KeyboardInterrupt: Ctrl-C; what ran has saved.
    """
    contest = _check(request)
    with alone(request.sweep.out):
        text = contest.write()
        try:
            for cell in list(contest.missing(DEV)):
                _do(contest, cell)
            if not contest.page.chosen:
                _choose(contest)
            for cell in list(contest.missing("rest")):
                _do(contest, cell)
            for split in request.splits:
                if split not in contest.page.comparisons:
                    _compare(contest, split)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"all progress is saved; go on with: {typed_command()}") from None
        text = contest.write()
    print(text, end="")


def show(request: VersusRequest) -> None:
    """Print what `run` would do as far as it is known before the choice, and touch nothing.

    Raises:
        InputError: As `run` before it trains.
    """
    contest = _check(request)
    phases = [DEV, *(["rest"] if contest.page.chosen else [])]
    for name, seed, split in (cell for phase in phases for cell in contest.missing(phase)):
        row = _row(contest, (name, seed, split))
        print(f"{key(row.variant, seed)}: {split}")
        while row.stages:
            print(f"  {shlex.join(['crossgraph', *_work(contest, split).words(row)])}")
            row.stages.pop(0)
    if not contest.page.chosen:
        print(f"then the best of them on {DEV} and {contest.sweep.baseline}: {' and '.join(request.splits)}")


def _do(contest: _Contest, cell: Cell) -> None:
    """Train where needed, evaluate, and keep the card."""
    name, seed, split = cell
    row, places = _row(contest, cell), contest.checked[split].places
    if not row.stages and _opened(split) and not (places.details(row.variant, seed) / DETAILS).exists():
        row.stages = ["evaluate"]
    problems = dataclasses.replace(_work(contest, split), rows=[row]).run(_nothing)
    if problems:
        raise InputError(
            f"{key(row.variant, seed)}: {problems[key(row.variant, seed)]}",
            "mend it and run the same command again; what is done stays",
        )
    planned = contest.planned[name, seed]
    card = read_json(places.card(row.variant, seed))
    card["table"] = cells.describe(planned, places, card, contest.splits[split])
    write_json(cells.place(_cards(contest.request, seed), planned, split), card)
    contest.page.cards[cell] = card
    contest.write()


def _choose(contest: _Contest) -> None:
    """Write down which variant is best on dev, before any other split is looked at."""
    candidates = {
        variant.name: versus_page.rsum(contest.page.cards[variant.name, contest.first, DEV])
        for variant in contest.sweep.variants
        if variant.name != contest.sweep.baseline
    }
    chosen = max(candidates, key=lambda name: candidates[name])
    choice = {"format_version": 1, "chosen": chosen, "by": f"rSum on {DEV}, seed {contest.first}", "rsum": candidates}
    write_json(contest.request.cards / CHOICE, choice | {"recipes": _recipes(contest.planned, contest.first)})
    contest.page.chosen = chosen
    contest.write()
    _say(f"chosen on {DEV}: {chosen}")


def _compare(contest: _Contest, split: str) -> None:
    places, two = contest.checked[split].places, (contest.sweep.baseline, contest.page.chosen)
    answers: list[dict[int, Answers]] = []
    for name in two:
        variant = contest.sweep[name]
        read = {seed: read_details(places.details(variant, seed) / DETAILS) for seed in contest.sweep.seeds}
        answers.append({seed: dataclasses.replace(one, name=name) for seed, one in read.items()})
    found = paired_seeds.compare(*answers) | {"weights": _weights(contest.page, contest.sweep, split)}
    write_json(contest.request.cards / f"comparison-{split}.json", found)
    contest.page.comparisons[split] = found


def _row(contest: _Contest, cell: Cell) -> Row:
    name, seed, split = cell
    rows = contest.checked[split].work.rows
    row = next(row for row in rows if (row.variant.name, row.seed) == (name, seed))
    done = any((name, seed, other) in contest.page.cards for other in contest.checked)
    trained = (contest.checked[split].places.run(row.variant, seed) / "run.json").exists()
    if done and trained and row.stages[:1] == ["train"]:
        row.stages.pop(0)  # trained since the looking, for another split
    return row


def _work(contest: _Contest, split: str) -> Any:
    return dataclasses.replace(contest.checked[split].work, details=_opened(split))


def _opened(split: str) -> bool:
    return split != DEV


def _check(request: VersusRequest) -> _Contest:
    """Read and build everything that a contest needs before any of it is worked on."""
    asked = dataclasses.replace(request.sweep, only=[], jobs=1)
    check_folder(request.cards)
    check_file(request.page, ".md")
    versus_page.check_place(request.page)
    if not request.splits or len(set(request.splits)) < len(request.splits):
        raise InputError(f"--splits {' '.join(request.splits)}".strip(), "name each split once")
    if DEV in request.splits:
        raise InputError(f"--splits holds '{DEV}', which the variant is chosen on", "leave it out")
    path = find(asked.sweep)
    sweep = load(path)
    if not sweep.baseline or len(sweep.variants) < 2 or any(variant.ensemble for variant in sweep.variants):
        what = "an ensemble" if sweep.baseline and len(sweep.variants) > 1 else "no 'baseline' and another variant"
        raise InputError(f"{path}: has {what}", f"crossgraph sweep {asked.sweep}")
    planned = {(e.variant.name, e.seed): e for e in plan(sweep, path, asked.overrides, asked.small)}
    splits = [DEV, *request.splits]
    checked = {split: check(dataclasses.replace(asked, split=split)) for split in splits}
    data = open_data(asked.data, asked.features, log=_nothing)
    page = Page(sweep, planned, list(request.splits), _kept_cards(request, planned, checked))
    page.chosen = _kept_choice(request, sweep, planned)
    contest = _Contest(request, sweep, planned, checked, {split: data.split(split) for split in splits}, page)
    page.comparisons = _kept_comparisons(request, page, sweep)
    _say(f"{len(page.cards)} cards are there{f'; chosen: {page.chosen}' if page.chosen else ''}")
    return contest


def _kept_cards(
    request: VersusRequest, planned: Mapping[tuple[str, int], Planned], checked: Mapping[str, Checked]
) -> dict[Cell, dict[str, Any]]:
    found: dict[Cell, dict[str, Any]] = {}
    for (name, seed), entry in planned.items():
        for split, its in checked.items():
            if card := cells.kept(_cards(request, seed), entry, split, its.fingerprint):
                found[name, seed, split] = card
    return found


def _kept_choice(request: VersusRequest, sweep: Sweep, planned: Mapping[tuple[str, int], Planned]) -> str:
    """Return what was chosen, "" where nothing was.

    Raises:
        InputError: It was chosen among other variants or recipes.
    """
    path = request.cards / CHOICE
    if not path.exists():
        return ""
    choice = read_json(path)
    try:
        chosen, recipes = str(choice["chosen"]), choice["recipes"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: no choice of 'crossgraph versus'", "remove it to choose again") from error
    if recipes != _recipes(planned, sweep.seeds[0]) or chosen == sweep.baseline:
        raise InputError(
            f"{path}: '{chosen}' was chosen among other variants or recipes than {request.sweep.sweep} lists now",
            f"a list is not changed once other splits were seen; give another --cards and --out, not {request.cards}",
        )
    return chosen


def _kept_comparisons(request: VersusRequest, page: Page, sweep: Sweep) -> dict[str, Any]:
    """Return the comparisons that are of the present cards."""
    found: dict[str, Any] = {}
    for split in request.splits:
        path = request.cards / f"comparison-{split}.json"
        if page.chosen and path.exists() and not _lacks(page, sweep, split):
            kept = read_json(path)
            if isinstance(kept, dict) and kept.get("weights") == _weights(page, sweep, split):
                found[split] = kept
    return found


def _lacks(page: Page, sweep: Sweep, split: str) -> bool:
    two = (sweep.baseline, page.chosen)
    return any((name, seed, split) not in page.cards for name in two for seed in sweep.seeds)


def _weights(page: Page, sweep: Sweep, split: str) -> dict[str, list[str]]:
    """Return the sums of the weights that were compared, by variant, a seed each."""
    return {
        name: [page.cards[name, seed, split]["models"]["entries"][0]["weights_sha256"] for seed in sweep.seeds]
        for name in (sweep.baseline, page.chosen)
    }


def _recipes(planned: Mapping[tuple[str, int], Planned], seed: int) -> dict[str, Any]:
    return {name: cells.recipe_of(entry) for (name, its), entry in planned.items() if its == seed}


def _cards(request: VersusRequest, seed: int) -> Path:
    return request.cards / f"seed-{seed}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nothing(_: object) -> None:
    """Drop what was said before."""
