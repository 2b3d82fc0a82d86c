"""Chosen pairs score as the whole matrix does, also where lists of many pictures are cut, filled up, and one call."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.tiny_matcher import WORDS, tiny_model, tiny_split

from crossgraph.models.base import MODELS, Inputs
from crossgraph.scoring import pair_lists
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.encode import ImageBlocks, encode_captions
from crossgraph.scoring.engine import DEFAULT_SIZE, ScoringOptions, score_split
from crossgraph.scoring.pair_lists import CaptionCodeCache, ListScorer
from crossgraph.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<pad>", "<start>", "<end>", "<unk>", *WORDS])


def build(attention):
    torch.manual_seed(0)
    config = MODELS["sgr"].Config(embed_size=8, word_size=6, sim_size=5, attention=attention)
    return MODELS["sgr"](config, Inputs(5, len(VOCABULARY))).eval()


def lengths_of(texts):
    lengths = np.empty(sum(len(bucket.captions) for bucket in texts), np.int64)
    for bucket in texts:
        lengths[bucket.captions] = bucket.code.local.shape[1]
    return lengths


def scorer(model, texts, precision="float32", size=DEFAULT_SIZE):
    made = ListScorer(model, lengths_of(texts), precision, size)
    for bucket in texts:
        made.take([bucket])
    return made


@settings(max_examples=15)
@given(st.sampled_from(["t2i", "i2t"]), st.integers(0, 999), st.sampled_from([1, 5, 40, 10_000]))
def test_any_lists_in_any_blocks_score_as_the_matrix(attention, seed, pairs):
    model, split = build(attention), tiny_split(24, seed=seed)
    random = np.random.default_rng(seed)
    count = len(split.captions)
    chosen = [np.flatnonzero(random.random(count) < share) for share in random.choice([0, 0.1, 0.6, 1], 24)]
    whole = score_split(model, VOCABULARY, split)
    texts = encode_captions(model, VOCABULARY, split.captions)
    found = list(scorer(model, texts, size=BlockSize(pairs=pairs)).scores(ImageBlocks(model, split), chosen))
    for one, wanted in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(one.captions, wanted)
        np.testing.assert_allclose(one.scores, whole[one.image, wanted], atol=1e-5)


@pytest.mark.parametrize(
    ("captions", "pairs", "lengths"),
    [
        (1, 64, {2}),
        (4, 64, {4}),
        (5, 64, {4, 2}),
        (7, 64, {4, 2}),
        (8, 64, {8}),
        (15, 64, {8, 4, 2}),
        (17, 64, {16, 2}),
        (40, 64, {16, 8}),
        (17, 8, {8, 2}),
        (5, 3, {2}),
        (3, 1, {1}),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_equally_long_captions_are_cut_to_few_lengths_and_all_are_counted(captions, pairs, lengths, precision):
    model, split = build("t2i"), tiny_split(3)
    split = dataclasses.replace(split, captions=["a dog runs"] * captions, caption_image=np.arange(captions) % 3)
    texts = encode_captions(model, VOCABULARY, split.captions)
    shapes, heard, form = set(), [], type(model.fold())
    score = form.score_lists

    def report(*told):
        heard.append(told)

    def noting(self, images, texts):
        shapes.add(tuple(texts.local.shape[:2]))
        return score(self, images, texts)

    chosen, size = [np.arange(captions)] * 3, BlockSize(pairs=pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(form, "score_lists", noting)
        found = list(scorer(model, texts, precision, size).scores(ImageBlocks(model, split), chosen, report))
    assert {length for _, length in shapes} == lengths
    assert all(lists * length <= pairs for lists, length in shapes)
    assert heard[-1][1:] == (3 * captions, 3 * captions)
    whole = score_split(model, VOCABULARY, split)
    for one in found:
        np.testing.assert_allclose(one.scores, whole[one.image], atol=1e-5 if precision == "float32" else 2e-3)


def test_codes_that_grow_when_they_are_prepared_stay_as_they_are():
    torch.manual_seed(0)
    config = MODELS["mmca"].Config(embed_size=8, word_size=6, heads=2)
    model, split = MODELS["mmca"](config, Inputs(5, len(VOCABULARY))).eval(), tiny_split(5)
    texts = encode_captions(model, VOCABULARY, split.captions)
    with torch.inference_mode():
        cache, small = (
            CaptionCodeCache(form, lengths_of(texts)) for form in (model.fold(), build("t2i").fold("bfloat16"))
        )
        cache.take(texts)
        assert all("projected" not in code.parts for code in cache.codes.values())
        small.take(encode_captions(build("t2i"), VOCABULARY, split.captions))
        assert all(code.local.dtype == torch.bfloat16 for code in small.codes.values())
    whole = score_split(model, VOCABULARY, split)
    chosen = [np.arange(len(split.captions))] * 5
    for one in scorer(model, texts).scores(ImageBlocks(model, split), chosen):
        np.testing.assert_allclose(one.scores, whole[one.image], atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_codes_on_files_score_as_those_in_memory(monkeypatch, precision):
    model, split = build("t2i"), tiny_split(9)
    texts = encode_captions(model, VOCABULARY, split.captions)
    chosen = [np.arange(len(split.captions))] * 9
    kept = [one.scores for one in scorer(model, texts, precision).scores(ImageBlocks(model, split), chosen)]
    monkeypatch.setattr(pair_lists, "CACHE_BYTES", 100)
    monkeypatch.setattr(pair_lists, "_SMALLEST_FILE", 1)
    filed, rooms = scorer(model, texts, precision), []
    monkeypatch.setattr(pair_lists, "release_pages", rooms.append)
    for _ in range(2):
        for one, expected in zip(filed.scores(ImageBlocks(model, split), chosen), kept, strict=True):
            np.testing.assert_array_equal(one.scores, expected)
    assert rooms and all(isinstance(room, np.memmap) for room in rooms)


def test_what_all_captions_need_is_known_from_some_before_there_is_room_for_any(monkeypatch):
    model, split = build("t2i"), tiny_split(9)
    texts = encode_captions(model, VOCABULARY, split.captions)
    made = ListScorer(model, lengths_of(texts))
    with monkeypatch.context() as patch:
        patch.setattr(CaptionCodeCache, "take", None)
        needed = [made.needs(bucket) for bucket in texts]
    codes = [bucket.code for bucket in texts]
    held = sum(sum(t.nbytes for t in (code.local, code.mask, *code.parts.values())) for code in codes)
    assert all(0.6 * held < one < 1.6 * held for one in needed)


def test_chosen_pairs_score_as_in_the_whole_matrix():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    whole = score_split(model, vocabulary, split)
    random = np.random.default_rng(0)
    chosen = [np.flatnonzero(random.random(whole.shape[1]) < share) for share in (0, 1, 0.5, 0.1, 0.9, 0.3, 0.7)]
    heard = []
    texts = encode_captions(model, vocabulary, split.captions)
    found = list(scorer(model, texts).scores(ImageBlocks(model, split), chosen, lambda *told: heard.append(told)))
    assert [one.image for one in found] == list(range(7))
    for one, wanted in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(one.captions, wanted)
        np.testing.assert_allclose(one.scores, whole[one.image, wanted], atol=1e-6)
    assert heard[-1] == ("pairs", sum(map(len, chosen)), sum(map(len, chosen)))


def test_in_bfloat16_blocks_have_few_shapes_and_the_scores_of_the_whole_matrix():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    split = dataclasses.replace(split, captions=["dog"] * 23, caption_image=np.arange(23) % len(split.image_ids))
    texts = encode_captions(model, vocabulary, split.captions)
    chosen = [np.arange(count) for count in (23, 5, 1, 7, 11, 17, 9)]
    whole = score_split(model, vocabulary, split, ScoringOptions(precision="bfloat16"))
    model.blocks.clear()
    for one in scorer(model, texts, "bfloat16").scores(ImageBlocks(model, split), chosen):
        np.testing.assert_allclose(one.scores, whole[one.image, one.captions], atol=1e-3)
    assert {captions for _, captions in model.blocks} <= {1, 4, 6, 8, 12, 24}  # 4: what is measured first


def test_blocks_of_chosen_pairs_change_nothing():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    texts = encode_captions(model, vocabulary, split.captions)
    chosen = [np.arange(len(split.captions))] * len(split.image_ids)
    whole, one = (
        list(scorer(model, texts, size=BlockSize(pairs=pairs)).scores(ImageBlocks(model, split), chosen))
        for pairs in (1000, 1)
    )
    for a, b in zip(whole, one, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
