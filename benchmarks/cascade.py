"""All pairs beside the cascade: recalls and times of trained runs, and 5,000 × 25,000 in bounded memory.

python benchmarks/cascade.py --data DATA [--bundle BUNDLE] [--full BUNDLE] [--parts trained --parts large] [--small]

trained  BUNDLE on DATA's test split: rSum of all pairs in float32 and bfloat16, every recall of the cascade in bfloat16
drawn    drawn pictures and captions at the published sizes (36 × 2048, 1024, 256): all pairs, bfloat16
full     the same of the bundle of --full, trained at 1024 and 256, in bfloat16 alone
large    the same bundle on 5,000 pictures with 25,000 captions, by cascade: test, dev, and what of train is needed

Margins are chosen on DATA's dev split. Drawn pictures have no cascade, since short lists are learned from meaningful
scores. Each measurement is a process of its own, whose peak resident size is measured. The card is written after each;
parts that are not asked for stay as they were. --small draws small pictures, and keeps its card apart.
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

import numpy as np
from drawn_pairs import EMBED, REGIONS, SIM, WIDTH, largest_size, write_run, write_split

from crossgraph.tables import Table

PARTS = ("trained", "drawn", "full", "large")
GOALS = {"drawn all pairs": 300, "full all pairs": 300, "full cascade": 30, "large cascade": 600}
"""Seconds on two cores."""
LARGE = 5000


def silent(task: str) -> Callable[[str, int, int], None]:
    return lambda what, done, total: None


def flat(found: Any) -> dict[str, float]:
    """Return recalls by name, and their sum."""
    sides = {"i2t": found.i2t, "t2i": found.t2i}
    return {f"{side} R@{at}": value for side, one in sides.items() for at, value in one.recall.items()} | {
        "rsum": found.rsum
    }


class Joined:
    """Features of several splits, one behind the other.

    Args:
        parts: Of each.
    """

    def __init__(self, parts: list[Any]) -> None:
        self._parts = parts
        self._ends = np.cumsum([part.shape[0] for part in parts])
        self.encoder = parts[0].encoder

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures of all, most regions, width."""
        return int(self._ends[-1]), *self._parts[0].shape[1:]

    def read(self, rows: Any) -> Any:
        """Read consecutive rows, as blocks of pictures are read."""
        import torch

        from crossgraph.core.types import Regions

        rows = np.asarray(rows)
        number = np.searchsorted(self._ends, rows, side="right")
        first = self._ends - [part.shape[0] for part in self._parts]
        found = [self._parts[one].read(rows[number == one] - first[one]) for one in np.unique(number).tolist()]
        return Regions(*(torch.cat([getattr(one, name) for one in found]) for name in ("features", "mask")))

    def fingerprint(self) -> str:
        """Tell all of them."""
        return "-".join(part.fingerprint() for part in self._parts)


def joined(opened: Any, images: int) -> Any:
    """Return the test split with dev and the first pictures of train behind it."""
    import dataclasses

    from crossgraph.data.subset import first_images

    test, dev, train = (opened.split(name) for name in ("test", "dev", "train"))
    train = first_images(train, images - len(test.image_ids) - len(dev.image_ids))
    parts = [test, dev, train]
    before = np.cumsum([0, *(len(part.image_ids) for part in parts)])
    return dataclasses.replace(
        test,
        image_ids=[f"{part.name} {name}" for part in parts for name in part.image_ids],
        captions=[caption for part in parts for caption in part.captions],
        caption_image=np.concatenate([part.caption_image + more for part, more in zip(parts, before, strict=False)]),
        features=Joined([part.features for part in parts]),
        picture_paths=(),
        edges=None,
        coco=None,
    )


def measure(bundle_path: Path, data: Path, what: str, images: int) -> dict[str, Any]:
    """Score once, in this process; `what` is a way and a precision; of `images` above 0, those of all splits."""
    from crossgraph.bundle.folder import load_bundle
    from crossgraph.cascade.scores import cascade_scores, margins_of
    from crossgraph.data import open_data
    from crossgraph.scoring.engine import ScoringOptions, score_split
    from crossgraph.scoring.recall import recalls
    from crossgraph.scoring.tuning import choose_precision

    way, precision = what.split(" ")
    bundle, opened = load_bundle(bundle_path), open_data(data, log=lambda line: None)
    split, run = joined(opened, images) if images else opened.split("test"), bundle.reranker
    chosen, size = choose_precision(run.model, run.vocabulary, split, precision)
    margins = margins_of(bundle, lambda: opened.split("dev"), chosen, silent, size) if way == "cascade" else None
    about: dict[str, Any] = {}
    began, worked = time.perf_counter(), time.process_time()
    if margins is not None:
        scores, about = cascade_scores(bundle, split, margins, chosen, silent, size)
    else:
        scores = score_split(run.model, run.vocabulary, split, ScoringOptions(precision=chosen, size=size))
    found = recalls(scores, split.caption_image)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    pairs = about["pairs_by_nearness"] + about["pairs_by_guess"] if about else scores.size
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
        **({"cascade": about} if about else {}),
    }


def alone(bundle: Path, data: Path, what: str, images: int = 0) -> dict[str, Any]:
    """Measure in a process of its own; its load stands beside it."""
    before = os.getloadavg()[0]
    words = [sys.executable, __file__, "--alone", json.dumps([str(bundle), str(data), what, images])]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    found["load"] = {"before": round(before, 1), "after": round(os.getloadavg()[0], 1)}
    told = f"{found['seconds']:.1f} s, {found['pairs']:,} pairs, {found['largest_gb']:.2f} GB"
    print(f"{found['images']:,} × {found['captions']:,} {what}: {told}", flush=True)
    return found


def described(bundle: Path, data: Path) -> dict[str, Any]:
    """Tell the re-ranker and its sizes."""
    from crossgraph.bundle.folder import load_bundle

    info = load_bundle(bundle).reranker.info
    return {"model": info.model, "config": info.config, "data": data.resolve().name}


def trained(bundle: Path, data: Path, precisions: tuple[str, ...]) -> dict[str, Any]:
    """Compare recalls of all pairs and of the cascade."""
    alone(bundle, data, "cascade bfloat16")  # chooses margins on dev, and block sizes; both are kept
    ways = [*(f"all {precision}" for precision in precisions), "cascade bfloat16"]
    found = {what: alone(bundle, data, what) for what in ways}
    whole, short = (found[what]["recalls"] for what in ("all bfloat16", "cascade bfloat16"))
    differences = {name: round(short[name] - whole[name], 4) for name in whole}
    return {
        **described(bundle, data),
        "measured": found,
        "cascade_less_all_pairs": differences,
        "largest_recall_difference": max(abs(value) for name, value in differences.items() if name != "rsum"),
        "rsum_less_bfloat16": {what: round(one["recalls"]["rsum"] - whole["rsum"], 4) for what, one in found.items()},
    }


def drawn(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Time all pairs of drawn pictures and captions."""
    data = write_split(folder / "data", given.images, 5, given.regions, given.width)
    run = write_run(folder / "run", given.model, given.width, given.embed, given.sim)
    measured = {"all bfloat16": alone(run, data, "all bfloat16")}
    del measured["all bfloat16"]["recalls"]  # of random weights
    return {
        "model": given.model,
        "sizes": {"regions": given.regions, "width": given.width, "embed": given.embed, "sim": given.sim},
        "measured": measured,
    }


def large(bundle: Path, data: Path) -> dict[str, Any]:
    """Time the cascade on pictures of all splits."""
    found = alone(bundle, data, "cascade bfloat16", LARGE)
    del found["recalls"]  # some of the pictures are learned ones
    return {**described(bundle, data), "measured": {"cascade bfloat16": found}}


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    rows: list[list[str]] = []
    for part in (part for part in PARTS if part in card):
        about = card[part]
        sizes = (
            about["sizes"] if part == "drawn" else {name: about["config"][f"{name}_size"] for name in ("embed", "sim")}
        )
        told = f"{sizes['embed']}, {sizes['sim']}, " + ("drawn" if part == "drawn" else f"trained on {about['data']}")
        for what, one in about["measured"].items():
            goal = GOALS.get(f"{part} {what.split(' ')[0].replace('all', 'all pairs')}")
            aim = f" (goal {goal})" if goal else ""
            cells = [f"{one['images']:,} × {one['captions']:,}; {told}", what.replace("all ", "all pairs, ")]
            cells += [f"{one['share']:.1%}", f"{one['seconds']:,.0f} s{aim}", f"{one['largest_gb']:.2f} GB"]
            rows.append([*cells, f"{one['load']['before']:.0f}–{one['load']['after']:.0f}"])
    costs = Table(["pictures × captions", "how", "pairs scored", "time", "memory", "load"], rows, text_columns=2)
    parts = [costs.to_markdown(padded=False)]
    for part in (part for part in ("trained", "full") if part in card):
        found = card[part]
        worst, exact = found["largest_recall_difference"], found["rsum_less_bfloat16"].get("all float32")
        names = [name for name in found["cascade_less_all_pairs"] if name != "rsum"]
        title = f"test, embed_size {found['config']['embed_size']}"
        recalls = [
            [what.replace("all ", "all pairs, "), *(f"{one['recalls'][name]:.2f}" for name in [*names, "rsum"])]
            for what, one in found["measured"].items()
        ]
        parts.append(Table([title, *names, "rSum"], recalls).to_markdown(padded=False))
        also = "" if exact is None else f"; bfloat16 moves rSum by {-exact:+.2f}"
        parts.append(f"The cascade moves no recall by more than {worst:.2f}{also}.")
    return "\n\n".join(parts)


def machine() -> dict[str, Any]:
    import torch

    from crossgraph.provenance import all_versions, git_revision, hardware

    about = {"hardware": hardware(torch.device("cpu")), "threads": torch.get_num_threads(), "nice": os.nice(0)}
    return {**about, "versions": all_versions(), "git_revision": git_revision()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--full", type=Path, help="a bundle trained at full size")
    parser.add_argument("--parts", action="append", choices=PARTS)
    parser.add_argument("--model", default="sgr", help="of the drawn part")
    parser.add_argument("--images", type=int, default=1000, help="of the drawn part")
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
        bundle, data, what, images = json.loads(given.alone)
        print(json.dumps(measure(Path(bundle), Path(data), what, images)))
        return 0
    if given.small:
        given.images, given.regions, given.width, given.embed, given.sim = 30, 6, 32, 32, 16
        given.out = Path(tempfile.gettempdir()) / "cascade-small.json"
    parts = given.parts or PARTS
    for part, needed in (("trained", "bundle"), ("full", "full"), ("large", "full")):
        if part in parts and not (given.data and getattr(given, needed)):
            parser.error(f"the part '{part}' needs --data and --{needed}; name other --parts")
    from crossgraph.files import write_json

    card = json.loads(given.out.read_text()) if given.out.exists() else {}
    for part in (part for part in PARTS if part in parts):
        if part == "drawn":
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                found = drawn(Path(folder), given)
        elif part == "large":
            found = large(given.full, given.data)
        else:
            bundle, also = (given.bundle, ("float32",)) if part == "trained" else (given.full, ())
            found = trained(bundle, given.data, (*also, "bfloat16"))
        card[part] = {**found, "about": {**machine(), "command": " ".join(sys.argv[1:])}}
        write_json(given.out, card)
    print(table(card))
    print(f"-> {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
