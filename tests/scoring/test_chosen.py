"""Chosen pairs of SGRAF: lists of many pictures in one call, cut and filled up, score as the whole matrix does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.tiny_matcher import WORDS, tiny_split

from crossgraph.models.base import MODELS, Inputs
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.chosen import LISTS, score_chosen
from crossgraph.scoring.encode import ImageBlocks, encode_captions
from crossgraph.scoring.engine import score_split
from crossgraph.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<pad>", "<start>", "<end>", "<unk>", *WORDS])


def build(attention):
    torch.manual_seed(0)
    config = MODELS["sgr"].Config(embed_size=8, word_size=6, sim_size=5, attention=attention)
    return MODELS["sgr"](config, Inputs(5, len(VOCABULARY))).eval()


@settings(max_examples=15)
@given(st.sampled_from(["t2i", "i2t"]), st.integers(0, 999), st.sampled_from([1, 5, 40, 10_000]))
def test_any_lists_in_any_blocks_score_as_the_matrix(attention, seed, pairs):
    model, split = build(attention), tiny_split(24, seed=seed)
    random = np.random.default_rng(seed)
    count = len(split.captions)
    chosen = [np.flatnonzero(random.random(count) < share) for share in random.choice([0, 0.1, 0.6, 1], 24)]
    whole = score_split(model, VOCABULARY, split)
    texts = encode_captions(model, VOCABULARY, split.captions)
    found = list(score_chosen(model, ImageBlocks(model, split), texts, chosen, size=BlockSize(pairs=pairs)))
    for one, wanted in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(one.captions, wanted)
        np.testing.assert_allclose(one.scores, whole[one.image, wanted], atol=1e-5)


@pytest.mark.parametrize("captions", [1, 3, 4, 5, 8, 15, 16, 17, 40])
def test_equally_long_captions_are_cut_to_few_lengths_and_all_are_counted(captions):
    model, split = build("t2i"), tiny_split(3)
    texts = encode_captions(model, VOCABULARY, ["a dog runs"] * captions)
    shapes, scorer = set(), model.fold("bfloat16")
    score, heard = type(scorer).score_lists, []

    def noting(self, images, texts):
        shapes.add(texts.local.shape[1])
        return score(self, images, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(scorer), "score_lists", noting)
        found = list(
            score_chosen(
                model,
                ImageBlocks(model, split),
                texts,
                [np.arange(captions)] * 3,
                precision="bfloat16",
                report=lambda *told: heard.append(told),
            )
        )
    assert shapes <= set(LISTS)
    assert heard[-1][1:] == (3 * captions, 3 * captions)
    for one in found:  # the same sentence again and again
        np.testing.assert_allclose(one.scores, one.scores[0], atol=2e-3)
