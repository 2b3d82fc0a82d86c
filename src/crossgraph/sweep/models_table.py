"""`crossgraph table`: trains every model with one budget, evaluates it on several splits, writes one page."""

from __future__ import annotations

from collections.abc import Iterator

from crossgraph.core.errors import InputError
from crossgraph.files import write_text
from crossgraph.sweep import models_page
from crossgraph.sweep.cards import Cell
from crossgraph.sweep.engine import CardEngine, PageRequest, check, check_problems, log, resumable
from crossgraph.sweep.run_status import lock_sweep


def run(request: PageRequest) -> None:
    """Train and evaluate what has no card yet, keep its cards, and write the page after each.

    Raises:
        InputError: Something given cannot be used, and nothing was trained; or some models failed.
        KeyboardInterrupt: Ctrl-C; running commands have saved.
    """
    engine = _check(request)
    page = engine.page
    log(_count(engine))
    with lock_sweep(request.sweep.out):
        text = _write(engine)
        for cells in _missing(engine):
            for cell in cells:
                try:
                    with resumable():
                        engine.measure(cell)
                except InputError as error:
                    page.problems[cell[0]] = error.problem
                    break
                _write(engine)
            text = _write(engine)
    print(text, end="")
    check_problems(page.problems, len(page.planned), "models")


def show(request: PageRequest) -> None:
    """Print what `run` would do; writes nothing.

    Raises:
        InputError: As `run` before it trains.
    """
    engine = _check(request)
    log(_count(engine))
    for cells in _missing(engine):
        print(f"{cells[0][0]}: {' and '.join(split for _, _, split in cells)}")
        for cell in cells:
            for command in engine.commands(cell):
                print(f"  {command}")
    print(_count(engine))


def _missing(engine: CardEngine) -> Iterator[list[Cell]]:
    """Yield the cells without a card of each model that was asked for."""
    wanted = {row.variant.name for work in engine.work.values() for row in work.rows}
    for name, seed in engine.page.planned:
        cells = [(name, seed, split) for split in engine.work if (name, seed, split) not in engine.page.cards]
        if cells and name in wanted:
            yield cells


def _write(engine: CardEngine) -> str:
    text = models_page.markdown(engine.page)
    write_text(engine.request.page, text)
    return text


def _count(engine: CardEngine) -> str:
    return f"{len(engine.page.cards)} of {len(engine.page.planned) * len(engine.work)} cards are there"


def _check(request: PageRequest) -> CardEngine:
    """Read all that a table needs before any of it is trained."""
    request.check()
    checked = check(request.sweep)
    sweep = checked.sweep
    if len(sweep.seeds) > 1 or len(checked.planned) < len(sweep.variants):
        problem = "several seeds" if len(sweep.seeds) > 1 else "ensembles"
        raise InputError(
            f"{checked.path}: a table of models has no {problem}", f"crossgraph sweep {request.sweep.sweep}"
        )
    return CardEngine(request, checked, request.splits, by_seed=False)
