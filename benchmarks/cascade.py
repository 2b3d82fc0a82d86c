"""All pairs beside the cascade: recalls on a trained bundle, times at full size, and 5,000 × 25,000 in bounded memory.

python benchmarks/cascade.py --bundle BUNDLE --data DATA [--parts trained full large] [--small]

trained  BUNDLE on DATA's test split: rSum of all pairs in float32 and bfloat16, every recall of the cascade in bfloat16
full     drawn pictures and captions at the published sizes (36 × 2048, 1024, 256): all pairs and cascade, bfloat16
large    five times as many of both, by cascade

The cascade's short lists are as long as BUNDLE's dev asks for; of other galleries the same share. Each measurement is
a process of its own, whose largest resident size is told. The card is written after each; parts that are not asked
for stay as they were. --small tries all of it in a minute, and keeps its card apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `crossgraph` does

from drawn_pairs import EMBED, REGIONS, SIM, WIDTH, largest_size, write_bundle, write_run, write_split

PARTS = ("trained", "full", "large")
GOALS = {"full all pairs": 300, "full cascade": 30, "large cascade": 600}
"""Seconds on two cores."""


def silent(task: str) -> Callable[[str, int, int], None]:
    return lambda what, done, total: None


def flat(found: Any) -> dict[str, float]:
    """Return recalls by name, and their sum."""
    sides = {"i2t": found.i2t, "t2i": found.t2i}
    return {f"{side} R@{at}": value for side, one in sides.items() for at, value in one.recall.items()} | {
        "rsum": found.rsum
    }


def measure(bundle_path: Path, data: Path, what: str, lists: dict[str, Any] | None) -> dict[str, Any]:
    """Score once, in this process; `what` is a way and a precision."""
    from crossgraph.bundle.folder import load_bundle
    from crossgraph.data import open_data
    from crossgraph.evaluate.cascade import Lists, cascade_scores, lists_of
    from crossgraph.scoring.engine import score_split
    from crossgraph.scoring.recall import recalls
    from crossgraph.scoring.tuning import settle

    way, precision = what.split(" ")
    bundle, opened = load_bundle(bundle_path), open_data(data, log=lambda line: None)
    split, run = opened.split("test"), bundle.reranker
    chosen, size = settle(run.model, run.vocabulary, split, precision)
    if way == "cascade" and lists is None:
        lists = vars(lists_of(bundle, lambda: opened.split("dev"), chosen, silent, size))
    about: dict[str, Any] = {}
    began, worked = time.perf_counter(), time.process_time()
    if way == "cascade":
        assert lists is not None
        scores, about = cascade_scores(bundle, split, Lists(**lists), chosen, silent, size)
    else:
        scores = score_split(run.model, run.vocabulary, split, precision=chosen, size=size)
    found = recalls(scores, split.caption_image)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    pairs = about.get("pairs", scores.size)
    return {
        "images": scores.shape[0],
        "captions": scores.shape[1],
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor, 2),
        "pairs": pairs,
        "share": pairs / scores.size,
        "pairs_per_second": round(pairs / seconds),
        "largest_gb": largest_size(),
        "recalls": flat(found),
        **({"lists": lists, "list_lengths": [about["pictures"], about["captions"]]} if about else {}),
    }


def alone(bundle: Path, data: Path, what: str, lists: dict[str, Any] | None = None) -> dict[str, Any]:
    """Measure in a process of its own; its load stands beside it."""
    before = os.getloadavg()[0]
    words = [sys.executable, __file__, "--alone", json.dumps([str(bundle), str(data), what, lists])]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    found["load"] = {"before": round(before, 1), "after": round(os.getloadavg()[0], 1)}
    told = f"{found['seconds']:.1f} s, {found['pairs']:,} pairs, {found['largest_gb']:.2f} GB"
    print(f"{found['images']:,} × {found['captions']:,} {what}: {told}", flush=True)
    return found


def trained(bundle: Path, data: Path) -> dict[str, Any]:
    """Compare recalls of all pairs and of the cascade."""
    alone(bundle, data, "cascade bfloat16")  # chooses lists on dev, and block sizes; both are kept
    found = {what: alone(bundle, data, what) for what in ("all float32", "all bfloat16", "cascade bfloat16")}
    whole, exact = found["all bfloat16"]["recalls"], found["all float32"]["recalls"]
    short = found["cascade bfloat16"]["recalls"]
    differences = {name: round(short[name] - whole[name], 4) for name in whole}
    return {
        "model": json.loads((bundle / "bundle.json").read_text())["reranker"]["model"],
        "data": data.resolve().name,
        "measured": found,
        "cascade_less_all_pairs": differences,
        "largest_recall_difference": max(abs(value) for name, value in differences.items() if name != "rsum"),
        "rsum_bfloat16_less_float32": round(whole["rsum"] - exact["rsum"], 4),
    }


def at_size(folder: Path, given: argparse.Namespace, part: str, lists: dict[str, Any]) -> dict[str, Any]:
    """Time all pairs and the cascade on drawn pictures and captions."""
    times, ways = (1, ["all bfloat16", "cascade bfloat16"]) if part == "full" else (5, ["cascade bfloat16"])
    sizes = {"regions": given.regions, "width": given.width, "embed": given.embed, "sim": given.sim}
    data = write_split(folder / part, times * given.images, 5, given.regions, given.width)
    run = write_run(folder / "run", given.model, given.width, given.embed, given.sim)
    bundle = write_bundle(folder / "bundle", run, given.regions)
    measured = {what: alone(bundle, data, what, lists if "cascade" in what else None) for what in ways}
    for one in measured.values():
        del one["recalls"]  # of random weights
    return {"model": given.model, "sizes": sizes, "measured": measured}


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    lines = ["| pictures × captions | how | pairs scored | time | memory | load |", "|---|---|---:|---:|---:|---:|"]
    for part in (part for part in PARTS if part in card):
        for what, one in card[part]["measured"].items():
            goal = GOALS.get(f"{part} {what.split(' ')[0].replace('all', 'all pairs')}")
            sizes = f"trained, {card[part]['data']}" if part == "trained" else "full size, drawn"
            aim = f" (goal {goal})" if goal else ""
            lines.append(
                f"| {one['images']:,} × {one['captions']:,}, {sizes} | {what.replace('all ', 'all pairs, ')} "
                f"| {one['share']:.1%} | {one['seconds']:,.0f} s{aim} | {one['largest_gb']:.2f} GB "
                f"| {one['load']['before']:.0f}–{one['load']['after']:.0f} |"
            )
    if "trained" in card:
        found = card["trained"]
        drift, worst = found["rsum_bfloat16_less_float32"], found["largest_recall_difference"]
        names = [name for name in found["cascade_less_all_pairs"] if name != "rsum"]
        lines += ["", "| trained run, test | " + " | ".join(names) + " | rSum |", "|---|" + "---:|" * (len(names) + 1)]
        for what, one in found["measured"].items():
            cells = [f"{one['recalls'][name]:.2f}" for name in [*names, "rsum"]]
            lines.append(f"| {what.replace('all ', 'all pairs, ')} | " + " | ".join(cells) + " |")
        lines += ["", f"The cascade moves no recall by more than {worst:.2f}; bfloat16 moves rSum by {drift:+.2f}."]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    import torch

    from crossgraph.scoring.provenance import all_versions, git_revision, hardware

    about = {"hardware": hardware(torch.device("cpu")), "threads": torch.get_num_threads(), "nice": os.nice(0)}
    return {**about, "versions": all_versions(), "git_revision": git_revision()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--lists", type=int, nargs=2, help="of a caption and a picture, among 1,000 × 5,000")
    parser.add_argument("--model", default="sgr")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--regions", type=int, default=REGIONS)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--embed", type=int, default=EMBED)
    parser.add_argument("--sim", type=int, default=SIM)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", type=Path, help="where features are made and removed; the system's own for such")
    parser.add_argument("--out", type=Path, default=Path("experiments/speed/cascade.json"))
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        bundle, data, what, lists = json.loads(given.alone)
        print(json.dumps(measure(Path(bundle), Path(data), what, lists)))
        return 0
    if given.small:
        given.images, given.regions, given.width, given.embed, given.sim = 30, 6, 32, 32, 16
        given.out = Path(tempfile.gettempdir()) / "cascade-small.json"
    if not (given.bundle and given.data) and ("trained" in given.parts or not given.lists):
        parser.error("give --bundle and --data; or, without the trained part, --lists")
    from crossgraph.files import write_json

    card = json.loads(given.out.read_text()) if given.out.exists() else {}
    card["about"] = {**machine(), "command": " ".join(sys.argv[1:])}
    lists: dict[str, Any] | None = None
    if "trained" in given.parts:
        card["trained"] = trained(given.bundle, given.data)
        write_json(given.out, card)
    if given.lists:
        lists = dict(zip(("pictures", "captions"), given.lists, strict=True))
        lists |= {"dev_pictures": 1000, "dev_captions": 5000, "dev": "", "bundle": "", "difference": 0.0}
    elif set(given.parts) & {"full", "large"}:
        lists = json.loads((given.bundle / "cascade.json").read_text())
        lists.pop("format_version")
    for part in (part for part in ("full", "large") if part in given.parts):
        assert lists is not None
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            card[part] = at_size(Path(folder), given, part, lists)
        write_json(given.out, card)
    print(table(card))
    print(f"-> {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
