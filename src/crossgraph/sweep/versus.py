"""`crossgraph versus`: chooses the best of some variants on dev, then compares it with a baseline, once.

    1. every variant and the baseline, first seed      trained, evaluated on dev        cards/seed-0/NAME-dev.json
    2. the variant with the highest rSum on dev         written down                     cards/choice.json
    3. that one and the baseline, every seed            trained, evaluated elsewhere     cards/seed-N/NAME-SPLIT.json
    4. the two on the same queries                      paired, by seed and together     cards/comparison-SPLIT.json

The page is made from these files alone. A choice is final: a list of other variants or recipes than it was made among
is refused, since figures of other splits could have led to that list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.evaluate.answers import DETAILS, Answers, read_details
from crossgraph.files import read_json, write_json
from crossgraph.sweep import cards, paired_seeds, versus_page
from crossgraph.sweep.cards import Cell, PageContent
from crossgraph.sweep.engine import CardEngine, PageRequest, check, log, resumable
from crossgraph.sweep.run_status import lock_sweep
from crossgraph.sweep.versus_page import DEV
from crossgraph.sweep.work import key

CHOICE = "choice.json"


def run(request: PageRequest) -> None:
    """Do what is missing, in order, and write the page after each step.

    Raises:
        InputError: Something given cannot be used, and nothing was trained; or a training failed.
        KeyboardInterrupt: Ctrl-C; running commands have saved.
    """
    engine = _check(request)
    page = engine.page
    with lock_sweep(request.sweep.out):
        versus_page.write(page, request.page)
        with resumable():
            _measure(engine, _dev_cells(page))
            if not page.chosen:
                page.chosen = _choose(page, request.cards)
                versus_page.write(page, request.page)
                log(f"chosen on {DEV}: {page.chosen}")
            _measure(engine, _compared_cells(page))
            for split in request.splits:
                if split not in page.comparisons:
                    page.comparisons[split] = _compare(engine, split)
        text = versus_page.write(page, request.page)
    print(text, end="")


def show(request: PageRequest) -> None:
    """Print what `run` would do as far as it is known before the choice; writes nothing.

    Raises:
        InputError: As `run` before it trains.
    """
    engine = _check(request)
    page = engine.page
    for cell in [*_dev_cells(page), *(_compared_cells(page) if page.chosen else [])]:
        if cell in page.cards:
            continue
        print(f"{key(page.sweep[cell[0]], cell[1])}: {cell[2]}")
        for command in engine.commands(cell):
            print(f"  {command}")
    if not page.chosen:
        print(f"then the best of them on {DEV} and {page.sweep.baseline}: {' and '.join(request.splits)}")


def _dev_cells(page: PageContent) -> list[Cell]:
    """Return the cells that the choice is made from."""
    return [(variant.name, page.sweep.seeds[0], DEV) for variant in page.sweep.variants]


def _compared_cells(page: PageContent) -> list[Cell]:
    """Return the cells of the baseline and the chosen variant on the other splits."""
    two = (page.sweep.baseline, page.chosen)
    return [(name, seed, split) for seed in page.sweep.seeds for name in two for split in page.splits]


def _measure(engine: CardEngine, wanted: list[Cell]) -> None:
    """Train and evaluate the cells that have no card, writing the page after each."""
    for cell in wanted:
        if cell in engine.page.cards:
            continue
        name, seed, split = cell
        try:
            engine.measure(cell, details=split != DEV)
        except InputError as error:
            raise InputError(
                f"{key(engine.page.sweep[name], seed)}: {error.problem}",
                error.remedy or "mend it and run the same command again; what is done stays",
            ) from error
        versus_page.write(engine.page, engine.request.page)


def _choose(page: PageContent, folder: Path) -> str:
    """Write down which variant is best on dev, before any other split is evaluated; return its name."""
    first = page.sweep.seeds[0]
    candidates = {
        variant.name: cards.rsum(page.cards[variant.name, first, DEV])
        for variant in page.sweep.variants
        if variant.name != page.sweep.baseline
    }
    chosen = max(candidates, key=lambda name: candidates[name])
    choice = {"format_version": 1, "chosen": chosen, "by": f"rSum on {DEV}, seed {first}", "rsum": candidates}
    write_json(folder / CHOICE, choice | {"recipes": _recipes(page)})
    return chosen


def _compare(engine: CardEngine, split: str) -> dict[str, Any]:
    """Compare the two on a split, query by query, and keep the comparison."""
    page, paths = engine.page, engine.work[split].paths
    answers: list[dict[int, Answers]] = []
    for name in (page.sweep.baseline, page.chosen):
        read = {seed: read_details(paths.details(page.sweep[name], seed) / DETAILS) for seed in page.sweep.seeds}
        answers.append({seed: dataclasses.replace(one, name=name) for seed, one in read.items()})
    comparison = paired_seeds.compare(*answers) | {"weights": _weights(page, split)}
    write_json(engine.request.cards / f"comparison-{split}.json", comparison)
    return comparison


def _check(request: PageRequest) -> CardEngine:
    """Read all that a comparison needs before any of it is trained."""
    request.check()
    versus_page.check_page(request.page)
    if DEV in request.splits:
        raise InputError(f"--splits holds '{DEV}', which the variant is chosen on", "leave it out")
    checked = check(dataclasses.replace(request.sweep, only=[], jobs=1))
    sweep = checked.sweep
    if not sweep.baseline or len(sweep.variants) < 2 or any(variant.ensemble for variant in sweep.variants):
        problem = "an ensemble" if sweep.baseline and len(sweep.variants) > 1 else "no 'baseline' and another variant"
        raise InputError(f"{checked.path}: has {problem}", f"crossgraph sweep {request.sweep.sweep}")
    engine = CardEngine(request, checked, [DEV, *request.splits], by_seed=True)
    page = engine.page
    page.chosen = _kept_choice(request, page)
    page.comparisons.update(_kept_comparisons(request, page))
    log(f"{len(page.cards)} cards are there{f'; chosen: {page.chosen}' if page.chosen else ''}")
    return engine


def _kept_choice(request: PageRequest, page: PageContent) -> str:
    """Return the variant that was chosen before, "" where none was.

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
    if recipes != _recipes(page) or chosen == page.sweep.baseline:
        raise InputError(
            f"{path}: '{chosen}' was chosen among other variants or recipes than {request.sweep.sweep} lists now",
            f"a list is not changed once other splits were seen; give another --cards and --out, not {request.cards}",
        )
    return chosen


def _kept_comparisons(request: PageRequest, page: PageContent) -> Iterator[tuple[str, Any]]:
    """Yield the comparisons, by split, that were made from the present cards."""
    for split in request.splits:
        path = request.cards / f"comparison-{split}.json"
        complete = all(cell in page.cards for cell in _compared_cells(page) if cell[2] == split)
        if page.chosen and path.exists() and complete:
            kept = read_json(path)
            if isinstance(kept, dict) and kept.get("weights") == _weights(page, split):
                yield split, kept


def _weights(page: PageContent, split: str) -> dict[str, list[str]]:
    """Return the checksums of the compared weights, by variant, one for each seed."""
    return {
        name: [page.cards[name, seed, split]["models"]["entries"][0]["weights_sha256"] for seed in page.sweep.seeds]
        for name in (page.sweep.baseline, page.chosen)
    }


def _recipes(page: PageContent) -> dict[str, Any]:
    first = page.sweep.seeds[0]
    return {name: cards.recipe_of(entry) for (name, seed), entry in page.planned.items() if seed == first}
