"""`crossgraph bench`: how fast models score on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crossgraph.core.errors import InputError

if TYPE_CHECKING:
    from crossgraph.scoring.benchmark import Measured


def bench(
    models: list[str] | None = None,
    *,
    out: Path | None = None,
    images: int = 64,
    captions: int = 128,
    words: int = 13,
    regions: int = 36,
    rounds: int = 5,
    retune: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Time scoring on this machine, beside each model's plain form and what its matrix products allow.

    Features and weights are random, sizes are the papers'. Block sizes are tried on the way, and remembered for
    `crossgraph score` and `crossgraph evaluate`.

    Args:
        models: Names, as `crossgraph models` lists them; without any, sgr and saf.
        out: Folder for bench.json and bench.png.
        images: Pictures to score.
        captions: Captions to score.
        words: Tokens of a caption.
        regions: Regions of a picture.
        rounds: Turns, of which medians are taken.
        retune: Try block sizes anew, even where they are remembered.
        device: Where to compute; auto takes the accelerator where there is one.
    """
    from crossgraph.files import check_output_folder, write_json
    from crossgraph.progress import ProgressDisplay
    from crossgraph.provenance import all_versions, git_revision, hardware, typed_command
    from crossgraph.scoring.benchmark import Setting, known, measure
    from crossgraph.scoring.engine import choose_device

    if out is not None:
        check_output_folder(out)
        _check_plotting()
    names = known(models or ["sgr", "saf"])
    where = choose_device(device)
    setting = Setting(images, captions, words, regions, rounds=rounds)
    before = _load()
    with ProgressDisplay() as progress:
        found = [measure(name, setting, where, progress.for_task(name), retune) for name in names]
    about: dict[str, Any] = {
        "setting": vars(setting),
        "hardware": hardware(where),
        "load": {"before": before, "after": _load()},
        "command": typed_command(),
        "versions": all_versions(),
        "git_revision": git_revision(),
    }
    print(table(found), end="")
    print("times: by the clock; work: processor time, which other work on the machine disturbs least")
    print(f"processes waiting for a core: {before:.1f} before, {about['load']['after']:.1f} after; medians of {rounds}")
    if out is not None:
        write_json(out / "bench.json", {**about, "models": [one.as_json() for one in found]})
        _plot(found, out / "bench.png")
        print(f"-> {out / 'bench.json'}, {out / 'bench.png'}")


def table(found: list[Measured]) -> str:
    """Return pairs a second, ratios and shares as a Markdown table."""
    from crossgraph.tables import Table

    head = ["model", "plain, pairs/s"]
    for precision in ("float32", "bfloat16"):
        head += [f"{precision}, pairs/s", "times", "times less work", "of limit"]
    rows: list[list[str]] = []
    for one in found:
        cells = [one.model, f"{1 / one.seconds['plain']:,.0f}"]
        for precision in ("float32", "bfloat16"):
            cells += [f"{1 / one.seconds[precision]:,.0f}", f"{one.ratio(precision):.1f}"]
            cells += [f"{one.work_ratio(precision):.1f}", f"{one.share[precision]:.0%}"]
        rows.append([*cells, f"{one.drift:.1e}"])
    return Table([*head, "drift"], rows).to_markdown(padded=False) + "\n"


def _plot(found: list[Measured], path: Path) -> None:
    from matplotlib.figure import Figure

    from crossgraph.files import atomic_write

    figure = Figure(figsize=(9, 1.6 + 0.55 * len(found)), layout="constrained")
    ratios, shares = figure.subplots(1, 2, sharey=True)
    colours = {"float32": "#0072B2", "bfloat16": "#E69F00"}  # told apart by all kinds of eyes, and by their hatching
    hatches = {"float32": "", "bfloat16": "//"}
    for row, one in enumerate(found):
        for step, precision in enumerate(("float32", "bfloat16")):
            height = row + 0.2 - 0.4 * (1 - step)
            style: dict[str, Any] = {
                "height": 0.38,
                "color": colours[precision],
                "hatch": hatches[precision],
                "edgecolor": "white",
                "label": precision if row == 0 else None,
            }
            ratios.barh(height, one.ratio(precision), **style)
            ratios.annotate(f" {one.ratio(precision):.1f}", (one.ratio(precision), height), va="center")
            shares.barh(height, 100 * one.share[precision], **style)
            shares.annotate(f" {one.share[precision]:.0%}", (100 * one.share[precision], height), va="center")
    ratios.axvline(1, color="#555555", linewidth=1)
    ratios.set(title="times faster than the plain form", yticks=range(len(found)), yticklabels=[o.model for o in found])
    shares.set(title="share of the matrix products' limit, %", xlim=(0, 100))
    ratios.set_xlim(0, 1.15 * max(one.ratio(p) for one in found for p in ("float32", "bfloat16")))
    ratios.invert_yaxis()
    for axes in (ratios, shares):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*ratios.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=130)


def _check_plotting() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise InputError("--out: the plot needs Matplotlib", "pip install 'crossgraph[explain]'")


def _load() -> float:
    import os

    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
