"""Words that name something visible are told from those that only hold a sentence together."""

from __future__ import annotations

import pytest

from crossgraph.text.content_words import is_content
from crossgraph.text.tokenizer import tokenize


def test_of_a_caption_the_nouns_verbs_and_colours_stay():
    words = [word.text for word in tokenize("A brown dog is running through the snow with its red ball .")]
    assert [word for word in words if is_content(word)] == ["brown", "dog", "running", "through", "snow", "red", "ball"]


@pytest.mark.parametrize("word", ["<start>", "<end>", "<unk>", ".", "``", "--", "The", "n't", ""])
def test_specials_punctuation_and_function_words_carry_nothing(word):
    assert not is_content(word)


@pytest.mark.parametrize("word", ["two", "left", "猫", "t-shirt", "3"])
def test_what_can_be_seen_carries_content(word):
    assert is_content(word)
