"""`crossgraph sweep`: trains and evaluates all variants, and writes one table of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from crossgraph.sweep import sweep_page
from crossgraph.sweep.engine import Request, check, check_problems, log, resumable
from crossgraph.sweep.run_status import lock_sweep


def run(request: Request) -> None:
    """Train and evaluate what is missing, and print the table.

    Raises:
        InputError: Something given cannot be used, and nothing was trained; or some variants failed, and the
            table says which and why.
        KeyboardInterrupt: Ctrl-C; running commands have saved.
    """
    work = check(request).work(request.split)

    def refresh(problems: Mapping[str, str]) -> str:
        return sweep_page.write(sweep_page.collect(work.paths, work.fingerprint, problems), work.paths)

    with lock_sweep(request.out):
        refresh({})
        with resumable():
            problems = work.run(refresh)
        print(refresh(problems), end="")
    stem = "table" if request.split == "test" else f"table-{request.split}"
    log(f"table: {request.out / stem}.md, .json and .csv")
    check_problems(problems, len(work.rows), "variants")


def show(request: Request) -> None:
    """Print what `run` would do; writes nothing.

    Raises:
        InputError: As `run` before it trains.
    """
    work = check(request).work(request.split)
    for row in work.rows:
        print(f"{row.name}: {' and '.join(row.stages) or 'nothing left to do'}")
        for _ in row.stages:
            print(f"  {shlex.join(['crossgraph', *work.words(row)])}")
            row.stages = row.stages[1:]
