"""The sieve: a scorer of codes that reads both sides' vectors, and nothing of padding, groups or order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.bundle.late_interaction import LateInteractionConfig, LateInteractionRetriever, retriever_for
from crossgraph.core.types import ImageCode, TextCode


def codes(seed: int, whole: bool = True, regions: int = 5, words: int = 4) -> tuple[ImageCode, TextCode]:
    """Draw three pictures and four captions; the last of each has padding unless they are whole."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for count, parts in ((3, regions), (4, words)):
        mask = torch.ones(count, parts, dtype=torch.bool)
        mask[-1, 2:] = whole
        found.append(
            (torch.randn(count, parts, 6, generator=generator), mask, torch.randn(count, 8, generator=generator))
        )
    (x, x_mask, v), (y, y_mask, t) = found
    return ImageCode(x, x_mask, parts={"global": v}), TextCode(y * y_mask[..., None], y_mask, parts={"global": t})


@pytest.fixture(scope="module")
def sieve() -> LateInteractionRetriever:
    torch.manual_seed(0)
    return LateInteractionRetriever(LateInteractionConfig(6, 8, size=4, overall_size=3)).eval()


def scores(sieve: LateInteractionRetriever, images: ImageCode, texts: TextCode) -> torch.Tensor:
    with torch.no_grad():
        return sieve.score(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))[0]


def test_it_computes_what_it_says(sieve):
    images, texts = codes(0)
    found = scores(sieve, images, texts)
    with torch.no_grad():
        left, right = sieve.images(images), sieve.texts(texts)
        for i in range(3):
            for j in range(4):
                near = sieve.sharpness * right.local[j] @ left.local[i].T
                said = right.parts["values"][j] @ left.parts["values"][i].T
                local = (near.softmax(dim=1) * said).sum() / (4 * 4) ** 0.5  # √(k · words)
                x, y = left.parts["overall"][i], right.parts["overall"][j]
                expected = local + x[:-1] @ y[:-1] / 3**0.5 + x[-1] + y[-1]
                torch.testing.assert_close(found[i, j], expected, atol=1e-5, rtol=1e-5)


@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 5))
def test_padding_and_the_order_of_regions_change_nothing(sieve, seed, more_words, more_regions):
    images, texts = codes(seed, whole=False)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    shuffled = ImageCode(images.local[:, order], images.mask[:, order], parts=images.parts)
    wider = ImageCode(
        torch.cat([shuffled.local, torch.full((3, more_regions, 6), 9.0)], dim=1),
        torch.cat([shuffled.mask, torch.zeros(3, more_regions, dtype=torch.bool)], dim=1),
        parts=images.parts,
    )
    longer = TextCode(
        torch.cat([texts.local, torch.zeros(4, more_words, 6)], dim=1),
        torch.cat([texts.mask, torch.zeros(4, more_words, dtype=torch.bool)], dim=1),
        parts=texts.parts,
    )
    torch.testing.assert_close(scores(sieve, wider, longer), scores(sieve, images, texts), atol=1e-5, rtol=1e-5)


def test_projected_before_or_not_and_in_groups_it_scores_the_same(sieve):
    images, texts = codes(1, whole=False)
    whole = scores(sieve, images, texts)
    with torch.no_grad():
        ready = sieve.prepare_images(images), sieve.prepare_texts(texts)
        assert sieve.prepare_images(ready[0]) is ready[0] and sieve.prepare_texts(ready[1]) is ready[1]
        torch.testing.assert_close(scores(sieve, *ready), whole)
        rows = torch.tensor([0, 2, 1, 2])
        pairs = sieve.score(images.select(rows).map(lambda t: t[:, None]), texts.map(lambda t: t[:, None]))
    torch.testing.assert_close(pairs[:, 0, 0], whole[rows, torch.arange(4)], atol=1e-6, rtol=1e-5)


def test_codes_without_a_global_vector_are_read_by_their_mean():
    images, texts = codes(2)
    bare = ImageCode(images.local, images.mask), TextCode(texts.local, texts.mask)
    torch.manual_seed(0)
    sieve = retriever_for(bare[0], 4)
    assert sieve.config.global_size == 0
    assert scores(sieve, *bare).shape == (3, 4)
    assert retriever_for(images, 4).config.global_size == 8
