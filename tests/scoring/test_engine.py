"""Scoring a split: every pair once, in the data's order, whatever the blocks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references.tiny_matcher import ArrayFeatures, tiny_model, tiny_split

from crossgraph import memory
from crossgraph.core.errors import InputError
from crossgraph.scoring import blocks, encode, engine
from crossgraph.scoring.encode import encode_split, plan_buckets
from crossgraph.scoring.engine import ScoringOptions, gather, score_blocks_of_split, score_matrix, score_split
from crossgraph.text.packing import collate


def one_by_one(model, vocabulary, split) -> np.ndarray:
    """Score pair after pair, each caption alone."""
    model.eval()
    scores = np.empty((len(split.image_ids), len(split.captions)), np.float32)
    with torch.no_grad():
        for i in range(scores.shape[0]):
            image = model.encode_images(split.features.read([i]))
            for j, caption in enumerate(split.captions):
                text = model.encode_texts(collate([vocabulary.encode(caption)]))
                scores[i, j] = float(model.score_block(image, text))
    return scores


def test_a_split_scores_as_its_pairs_do_one_by_one():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    scores = score_split(model, vocabulary, split)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, one_by_one(model, vocabulary, split), atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_block_sizes_and_threads_change_nothing(monkeypatch, threads):
    split, (model, vocabulary) = tiny_split(), tiny_model()
    whole = score_split(model, vocabulary, split)
    monkeypatch.setattr(blocks, "PAIR_BYTES", 1)
    monkeypatch.setattr(encode, "IMAGES_PER_BLOCK", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    model.blocks.clear()
    np.testing.assert_allclose(score_split(model, vocabulary, split), whole, atol=1e-6)
    assert model.blocks.count((1, 1)) >= whole.size


def test_portions_of_captions_change_nothing_and_hold_every_pair_once(monkeypatch):
    split, (model, vocabulary) = tiny_split(), tiny_model()
    whole = score_split(model, vocabulary, split)
    monkeypatch.setattr(engine, "CAPTIONS_PER_CHUNK", 3)
    monkeypatch.setattr(encode, "IMAGES_PER_BLOCK", 2)
    portions = list(score_blocks_of_split(model, vocabulary, split))
    assert max(portion.scores.size for portion in portions) == 6
    assert sum(portion.scores.size for portion in portions) == whole.size
    np.testing.assert_allclose(gather(iter(portions), whole.shape), whole, atol=1e-6)


def test_a_large_matrix_lies_in_a_file(monkeypatch):
    split, (model, vocabulary) = tiny_split(), tiny_model()
    small = score_split(model, vocabulary, split)
    monkeypatch.setattr(memory, "MATRIX_BYTES", 8)
    large = score_split(model, vocabulary, split)
    assert isinstance(large, np.memmap)
    np.testing.assert_array_equal(large, small)


@given(st.lists(st.integers(2, 90), min_size=0, max_size=400), st.integers(1, 150))
def test_buckets_hold_every_caption_once_and_no_padding(lengths, most):
    buckets = plan_buckets(lengths, most)
    assert sorted(row for bucket in buckets for row in bucket) == list(range(len(lengths)))
    for bucket in buckets:
        assert 1 <= len(bucket) <= most
        assert len({lengths[row] for row in bucket}) == 1


def test_pictures_are_read_once_and_in_bounded_blocks(monkeypatch):
    split, (model, vocabulary) = tiny_split(), tiny_model()
    monkeypatch.setattr(encode, "IMAGES_PER_BLOCK", 3)
    score_split(model, vocabulary, split)
    assert split.features.reads == [[0, 1, 2], [3, 4, 5], [6]]


def test_dropout_is_off_while_scoring_and_every_layers_mode_is_put_back():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    model.train()
    model.project.eval()
    first, second = score_split(model, vocabulary, split), score_split(model, vocabulary, split)
    np.testing.assert_array_equal(first, second)
    assert model.training
    assert model.drop.training
    assert not model.project.training
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_codes_can_be_scored_again_and_again():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    codes = encode_split(model, vocabulary, split)
    np.testing.assert_array_equal(score_matrix(model, codes), score_matrix(model, codes))


def test_bfloat16_gives_float32_scores_close_to_the_exact_ones():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    exact, quick = (
        score_split(model, vocabulary, split),
        score_split(model, vocabulary, split, ScoringOptions(precision="bfloat16")),
    )
    assert quick.dtype == np.float32
    assert 0 < np.abs(exact - quick).max() < 0.1


def test_the_report_counts_captions_then_pairs_to_the_end():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    heard = []
    score_split(model, vocabulary, split, ScoringOptions(progress=lambda *told: heard.append(told)))
    captions, pairs = len(split.captions), len(split.image_ids) * len(split.captions)
    assert ("captions", captions, captions) in heard
    assert heard[-1] == ("pairs", pairs, pairs)


def test_features_of_another_width_are_refused():
    model, vocabulary = tiny_model()
    with pytest.raises(InputError, match="features are 6 wide, the model takes 5"):
        score_split(model, vocabulary, tiny_split(width=6))


def test_another_number_of_regions_is_refused_only_where_it_is_fixed():
    split = tiny_split(regions=4)
    score_split(*tiny_model(regions=4), split)
    with pytest.raises(InputError, match="4 regions, the model takes exactly 3"):
        score_split(*tiny_model(regions=3), split)


def test_another_vocabulary_size_is_refused():
    model, vocabulary = tiny_model()
    longer = type(vocabulary)([*vocabulary.words, "more"])
    with pytest.raises(InputError, match="14 entries where the model has 13"):
        score_split(model, longer, tiny_split())


def test_nan_in_features_is_refused_by_the_images_name():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    split.features.features[4, 1, 2] = np.nan
    with pytest.raises(InputError, match="image 'image 4' holds NaN"):
        score_split(model, vocabulary, split)


def test_a_split_without_captions_is_refused():
    model, vocabulary = tiny_model()
    empty = dataclasses.replace(tiny_split(), captions=[], caption_image=np.zeros(0, np.int64))
    with pytest.raises(InputError, match="no captions in split"):
        score_split(model, vocabulary, empty)


def test_a_caption_without_any_word_is_scored_too():
    model, vocabulary = tiny_model()
    features = ArrayFeatures(np.ones((1, 2, 5), np.float32))
    split = dataclasses.replace(
        tiny_split(), image_ids=["one"], captions=["", "  "], caption_image=np.zeros(2, np.int64), features=features
    )
    assert np.isfinite(score_split(model, vocabulary, split)).all()
