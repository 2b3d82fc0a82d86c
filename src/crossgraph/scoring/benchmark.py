"""Benchmark a model's scoring on this machine against its plain form and against matrix products alone.

All forms are timed in turn in one process, so that whatever else the machine does hits them alike; medians are kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, Regions, TextCode, Tokens
from crossgraph.models.base import MODELS, Inputs, Matcher
from crossgraph.models.fast.form import DTYPES, Precision
from crossgraph.models.sgraf_per_caption import per_caption_scores
from crossgraph.progress import ProgressCallback
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.encode import TextBucket, compute_in, device_of, inference
from crossgraph.scoring.engine import prepared_images, prepared_texts
from crossgraph.scoring.tuning import read_cached, score_codes, tune, write_cached

VOCABULARY = 8000
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class Setting:
    """Sizes of a benchmark; features and weights are random.

    Attributes:
        images: Pictures.
        captions: Captions.
        words: Tokens of a caption.
        regions: Regions of a picture.
        width: Of a region's feature.
        plain: Captions that the plain form scores.
        rounds: Turns of all forms.
    """

    images: int = 64
    captions: int = 128
    words: int = 13
    regions: int = 36
    width: int = 2048
    plain: int = 32
    rounds: int = 5

    def __post_init__(self) -> None:
        """Check that all sizes are positive.

        Raises:
            InputError: A size below 1, or fewer than two words.
        """
        for name, value in asdict(self).items():
            if value < (2 if name == "words" else 1):
                raise InputError(f"{name} is {value}", f"give at least {2 if name == 'words' else 1}")


@dataclass(frozen=True)
class Measured:
    """Speeds of one model.

    Attributes:
        model: Its name.
        plain: What its plain form is, in words.
        seconds: Of a pair, by form: "plain", "float32", "bfloat16".
        processor: Seconds that all cores together worked for a pair, by form: what other work on the machine
            disturbs least. Of an accelerator's work they say nothing.
        share: Of the product limit, by precision.
        operations: Multiplications and additions of a pair's products in the engine's form.
        drift: The most that a score moved by in bfloat16.
    """

    model: str
    plain: str
    seconds: dict[str, float]
    processor: dict[str, float]
    share: dict[str, float]
    operations: float
    drift: float

    def ratio(self, precision: Precision) -> float:
        """Return how many times faster than the plain form it is."""
        return self.seconds["plain"] / self.seconds[precision]

    def work_ratio(self, precision: Precision) -> float:
        """Return how many times less processor time it takes than the plain form."""
        return self.processor["plain"] / max(1e-12, self.processor[precision])

    def as_json(self) -> dict[str, Any]:
        """Return plain values for JSON, ratios included."""
        ratio = {precision: self.ratio(precision) for precision in PRECISIONS}
        work_ratio = {precision: self.work_ratio(precision) for precision in PRECISIONS}
        return {**asdict(self), "ratio": ratio, "work_ratio": work_ratio}


def measure(
    name: str, setting: Setting, device: torch.device, report: ProgressCallback | None = None, retune: bool = False
) -> Measured:
    """Measure a model at its default sizes.

    Args:
        name: A registered model.
        setting: Sizes.
        device: Where.
        report: Called with progress.
        retune: Try block sizes anew, even where they are remembered.
    """
    model = build(name, setting).to(device)
    images, texts = draw_codes(model, setting)
    buckets = [TextBucket(np.arange(setting.captions), texts)]
    sizes = tuned_sizes(model, images, texts, retune)
    plain, described = plain_form(model)
    forms: dict[str, Callable[[], int]] = {"plain": lambda: _plainly(plain, model, images, texts, setting.plain)}
    for precision in PRECISIONS:
        forms[precision] = lambda p=precision: score_codes(model, images, buckets, p, sizes[p]).size
    limits: dict[str, Callable[[], int]] = {p: _product(p, device) for p in PRECISIONS}
    works = {**forms, **{f"limit {p}": work for p, work in limits.items()}}
    seconds, processor = _in_turn(works, setting.rounds, device, report)
    operations = {p: operations_of(model, images, texts, p) for p in PRECISIONS}
    share = {p: operations[p] * seconds[f"limit {p}"] / seconds[p] for p in PRECISIONS}
    exact, quick = (score_codes(model, images, buckets, p, sizes[p]) for p in PRECISIONS)
    kept = {key: value for key, value in seconds.items() if not key.startswith("limit")}
    return Measured(name, described, kept, processor, share, operations["float32"], float(np.abs(exact - quick).max()))


def _in_turn(
    works: dict[str, Callable[[], int]], rounds: int, device: torch.device, report: ProgressCallback | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Return median wall and processor seconds per unit of each workload, measured in turn."""
    clock: dict[str, list[float]] = {key: [] for key in works}
    cores: dict[str, list[float]] = {key: [] for key in works}
    for turn in range(rounds + 1):  # the first one warms up
        for key, work in works.items():
            began, worked = time.perf_counter(), time.process_time()
            done = work()
            _wait(device)
            if turn:
                clock[key].append((time.perf_counter() - began) / done)
                cores[key].append((time.process_time() - worked) / done)
        if report is not None:
            report("turns", turn, rounds)
    median = statistics.median
    return {key: median(values) for key, values in clock.items()}, {key: median(cores[key]) for key in cores}


def build(name: str, setting: Setting) -> Matcher:
    """Return a model of its default sizes with random weights, in evaluation mode."""
    torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]
    family = MODELS[name]
    return family(family.Config(), Inputs(setting.width, VOCABULARY, setting.regions)).eval()


def draw_codes(model: Matcher, setting: Setting) -> tuple[ImageCode, TextCode]:
    """Return codes of random pictures and captions of one length."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(setting.images, setting.regions, 2, generator=generator) / 2
    regions = Regions(
        torch.rand(setting.images, setting.regions, setting.width, generator=generator),
        torch.ones(setting.images, setting.regions, dtype=torch.bool),
        torch.cat([corner, corner + 0.4], dim=-1),
    )
    ids = torch.randint(4, VOCABULARY, (setting.captions, setting.words), generator=generator)
    tokens = Tokens(ids, torch.full((setting.captions,), setting.words))
    device = device_of(model)
    with inference(model):
        return model.encode_images(regions.to(device)), model.encode_texts(tokens.to(device))


def tuned_sizes(model: Matcher, images: ImageCode, texts: TextCode, anew: bool) -> dict[Precision, BlockSize]:
    """Return the best block sizes on this machine, measured now if not cached."""
    if model.kind == "independent":
        return dict.fromkeys(PRECISIONS, BlockSize())
    found = None if anew else read_cached(model)
    if found is None:
        found = tune(model, images, [TextBucket(np.arange(len(texts)), texts)])
        write_cached(model, found)
    return {precision: BlockSize(found.budgets[precision]) for precision in PRECISIONS}


def plain_form(model: Matcher) -> tuple[Callable[[Matcher, ImageCode, TextCode], object], str]:
    """Return the reference form and its name."""
    try:
        one = draw_codes(model, Setting(1, 1, 2, model.inputs.regions or 1, model.inputs.feature_size))
        with inference(model):
            per_caption_scores(model, *one)
        return per_caption_scores, "as published: one caption against all pictures"
    except InputError:
        return _one_by_one, "its own, one caption against all pictures"


def _one_by_one(model: Matcher, images: ImageCode, texts: TextCode) -> object:
    return [model.score_block(images, texts.select(slice(row, row + 1))) for row in range(len(texts))]


def _plainly(
    form: Callable[[Matcher, ImageCode, TextCode], object], model: Matcher, images: ImageCode, texts: TextCode, few: int
) -> int:
    some = texts.select(slice(0, few))
    with inference(model):
        form(model, images, some)
    return len(images) * len(some)


def operations_of(model: Matcher, images: ImageCode, texts: TextCode, precision: Precision) -> float:
    """Count the operations of a pair's matrix products; codes without a group axis."""
    some_images, some_texts = images.select(slice(0, 8)), texts.select(slice(0, 16))
    with inference(model, precision):
        scorer = model.fold(precision)
        one, other = prepared_images(scorer, some_images), prepared_texts(scorer, some_texts)
        # of tensors made in inference mode, operations would arrive that consist of others
        with torch.inference_mode(False), torch.no_grad(), FlopCounterMode(display=False) as counted:
            scorer.score(one.map(lambda t: t[None].clone()), other.map(lambda t: t[None].clone()))
    return counted.get_total_flops() / (len(some_images) * len(some_texts))


def _product(precision: Precision, device: torch.device) -> Callable[[], int]:
    """Return a workload of one large matrix product on every core, which returns its number of operations."""
    size, times = (1024, 8) if device.type == "cpu" else (8192, 8)
    cores = torch.get_num_threads() if device.type == "cpu" else 1
    sides = [torch.rand(2, size, size, device=device).to(DTYPES[precision]) for _ in range(cores)]

    def multiply(pair: torch.Tensor) -> None:
        torch.set_num_threads(1)
        with compute_in(device, "float32"):
            for _ in range(times):
                torch.mm(pair[0], pair[1])

    def work() -> int:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(multiply, sides))
        torch.set_num_threads(cores)
        return 2 * size**3 * times * cores

    return work


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def known(names: Sequence[str]) -> list[str]:
    """Check that every name is a model, and return them.

    Raises:
        InputError: One is not; the nearest is named.
    """
    for name in names:
        MODELS[name]
    return list(names)
