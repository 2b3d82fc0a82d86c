"""`crossgraph compare`: two systems on the same queries, with paired intervals."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Literal

from crossgraph.cli.output import log
from crossgraph.core.errors import InputError


def compare(
    a: Path,
    b: Path,
    *,
    data: Path | None = None,
    features: Path | None = None,
    split: str = "test",
    dev_limit: int | None = None,
    ties: Literal["expected", "worst"] = "expected",
    queries: int = 10,
    json: bool = False,
    out: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Compare two runs, score files or folders of details: is the difference more than chance?

    Prints B − A of every figure with a paired 95 % interval, and the queries whose rank changed most. A
    and B may be of different kinds; both must have been asked the same queries.

    Args:
        a: A run, a .npy of scores, or a folder that `crossgraph evaluate --details` wrote; the baseline.
        b: What is compared with it.
        data: The data folder; needed for runs and scores.
        features: Region features, where they lie elsewhere.
        split: Which split.
        dev_limit: Only the first so many images.
        ties: How equal scores count; details keep what they were written with.
        queries: How many of the most changed queries to name, each way.
        json: Print JSON instead of a table.
        out: Also write the table to this .md file.
        device: Where runs compute; auto takes the accelerator where there is one.
        precision: Of runs; bfloat16 is faster on processors that have it.
    """
    from crossgraph.data import open_data
    from crossgraph.data.subset import first_images
    from crossgraph.evaluate.answers import answers_of, kind_of
    from crossgraph.evaluate.comparison import comparison_markdown
    from crossgraph.evaluate.paired import compare_answers
    from crossgraph.files import check_output_file, write_text
    from crossgraph.progress import ProgressDisplay
    from crossgraph.scoring.engine import choose_device

    if queries < 0:
        raise InputError(f"--queries {queries}", "give 0 or more")
    if dev_limit is not None and dev_limit < 1:
        raise InputError(f"--dev-limit {dev_limit} leaves no image", "give at least 1")
    if out is not None:
        check_output_file(out, ".md")
    where = choose_device(device)
    whole = part = None
    if [kind_of(path) for path in (a, b)] != ["details", "details"] and data is not None:
        whole = open_data(data, features, log=log).split(split)
        part = whole if dev_limit is None else first_images(whole, dev_limit)
    with ProgressDisplay() as progress:
        try:
            first, second = answers_of(
                (a, b), whole, part, ties=ties, device=where, precision=precision, report=progress.for_task
            )
        except KeyboardInterrupt:
            remedy = "keep each run's scores with 'crossgraph score' and compare those"
            raise KeyboardInterrupt(f"nothing was compared; {remedy}") from None
    found = compare_answers(first, second, queries)
    about = f"{part.source or split}:" if part is not None else ""
    table = comparison_markdown(found, about)
    print(dumps(found.as_json(), indent=2, ensure_ascii=False) if json else table.rstrip("\n"))
    if out is not None:
        write_text(out, table)
        log(f"table: {out}")
