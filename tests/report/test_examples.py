"""Sentences in pieces: nothing of what was written gets lost, and punctuation stays with its word."""

from __future__ import annotations

import re
from html import unescape

from references.tiny_world import NASTY


def test_a_sentence_is_whole_again_when_its_pieces_are_joined(page):
    sentences = re.findall(r'<div class="sentence".*?</div>', page, re.DOTALL)
    texts = {unescape(re.sub(r"<[^>]*>", "", sentence)) for sentence in sentences}
    assert NASTY in texts
    assert "a red dog on a horse" in texts


def test_no_line_begins_with_a_comma(page):
    for together in re.findall(r'<span class="together">(.*?</button>)</span>', page):
        assert re.sub(r"<[^>]*>", "", together)[-1] in ".,;:!?"


def test_bars_are_shares_of_the_strongest_word(page):
    sentences = re.findall(r'<div class="sentence"[^>]*data-pair.*?</div>', page, re.DOTALL)
    for sentence in sentences:
        shares = [float(share) for share in re.findall(r"--s:([\d.]+)", sentence)]
        assert max(shares) == 1
        assert min(shares) >= 0
