"""Scoring a split: every pair once, in the data's order, whatever the blocks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references.tiny_matcher import ArrayFeatures, tiny_model, tiny_split

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.scoring import encode, engine
from crossgraph.scoring.encode import encode_split, plan_buckets
from crossgraph.scoring.engine import block_size, score_matrix, score_split
from crossgraph.text.batch import collate


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


def test_block_sizes_change_nothing(monkeypatch):
    split, (model, vocabulary) = tiny_split(), tiny_model()
    whole = score_split(model, vocabulary, split)
    monkeypatch.setattr(engine, "PAIR_BYTES", 1)
    monkeypatch.setattr(encode, "IMAGES_PER_BLOCK", 2)
    model.blocks.clear()
    np.testing.assert_allclose(score_split(model, vocabulary, split), whole, atol=1e-6)
    assert set(model.blocks) == {(1, 1)}


@given(
    st.integers(1, 300),
    st.integers(1, 49),
    st.integers(1, 64),
    st.integers(1, 150),
    st.integers(1, 90),
    st.integers(16, 28),
)
def test_a_block_keeps_to_its_budget(images, regions, width, captions, words, power):
    image = ImageCode(
        torch.empty(images, regions, width, device="meta"), torch.empty(images, regions, device="meta").bool()
    )
    text = TextCode(
        torch.empty(captions, words, width, device="meta"), torch.empty(captions, words, device="meta").bool()
    )
    some_images, some_captions = block_size(image, text, 1 << power)
    assert 1 <= some_images <= images
    assert 1 <= some_captions <= captions
    pair = 16 * (words + 1) * max(regions, width)
    assert some_images * some_captions * pair <= max(1 << power, pair)


@given(st.lists(st.integers(2, 90), min_size=1, max_size=400), st.integers(1, 150))
def test_buckets_hold_every_caption_once_with_little_padding(lengths, most):
    buckets = plan_buckets(lengths, most)
    assert sorted(row for bucket in buckets for row in bucket) == list(range(len(lengths)))
    for bucket in buckets:
        inside = [lengths[row] for row in bucket]
        assert len(bucket) <= most
        assert max(inside) <= min(inside) + max(2, min(inside) // 4)


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
    exact, quick = score_split(model, vocabulary, split), score_split(model, vocabulary, split, precision="bfloat16")
    assert quick.dtype == np.float32
    assert 0 < np.abs(exact - quick).max() < 0.1


def test_the_report_counts_captions_then_pairs_to_the_end():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    heard = []
    score_split(model, vocabulary, split, report=lambda *told: heard.append(told))
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
