"""Codes to score, drawn at random or encoded from random pictures and captions, with padding where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.core.types import ImageCode, Regions, TextCode, Tokens
from crossgraph.models.base import Matcher


def draw_codes(
    generator: torch.Generator,
    groups: int,
    images: int,
    regions: int,
    captions: int,
    words: int,
    width: int,
    masked: bool,
) -> tuple[ImageCode, TextCode]:
    """Return grouped codes; with `masked`, regions and words are missing at random, at least one of each stays."""

    def side(rows: int, items: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        local = torch.nn.functional.normalize(torch.randn(groups, rows, items, width, generator=generator), dim=-1)
        mask = torch.rand(groups, rows, items, generator=generator) < (0.7 if masked else 2)
        mask[..., torch.randint(items, (1,), generator=generator)] = True
        overall = torch.nn.functional.normalize(torch.randn(groups, rows, width, generator=generator), dim=-1)
        return local * mask[..., None], mask, overall

    local, mask, overall = side(images, regions)
    words_local, word_mask, text = side(captions, words)
    return ImageCode(local, mask, parts={"global": overall}), TextCode(words_local, word_mask, parts={"global": text})


def encode(
    model: Matcher, seed: int, images: int, regions: int, captions: int, words: int, mixed: bool = False
) -> tuple[ImageCode, TextCode]:
    """Return codes of features 7 wide; `mixed`: of several lengths, at least one region and word of each is real."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(images, regions, 7, generator=generator)
    boxes = torch.rand(images, regions, 4, generator=generator)
    mask = torch.rand(images, regions, generator=generator) < (0.7 if mixed else 2)
    mask[:, torch.randint(regions, (1,), generator=generator)] = True
    lengths = torch.randint(1 if mixed else words, words + 1, (captions,), generator=generator)
    ids = torch.randint(1, 20, (captions, words), generator=generator)
    with torch.no_grad():
        pictures = model.encode_images(Regions(features * mask[..., None], mask, boxes))
        return pictures, model.encode_texts(Tokens(ids * Tokens(ids, lengths).mask, lengths))


def grouped(*codes: ImageCode | TextCode) -> tuple[ImageCode | TextCode, ...]:
    """Return each code as the only group."""
    return tuple(code.map(lambda tensor: tensor[None]) for code in codes)


def any_codes(forms: Sequence[Mapping[str, Any]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test with one of the forms, sizes for `encode`, whether they are mixed, and a seed."""
    sizes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 8))
    return given(st.sampled_from(list(forms)), sizes, st.booleans(), st.integers(0, 10**6))


def compare_folded(model: Any, seed: int, sizes: tuple[int, int, int, int], mixed: bool) -> None:
    """Hold the scores of a model's folded form to its own."""
    images, texts = grouped(*encode(model, seed, *sizes, mixed))
    with torch.inference_mode():
        torch.testing.assert_close(model.fold().score(images, texts), model.score(images, texts), rtol=0, atol=1e-5)
