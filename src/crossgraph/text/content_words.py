"""Content words: words that may name something visible, which are all but a list of function words."""

from __future__ import annotations

# Articles, pronouns, auxiliaries, conjunctions, prepositions of English, and what a tokenizer leaves of
# contractions. Words of position ("left", "under") and number ("two") are content words: they can be seen.
_WORDS = """
    a an the this that these those some any each every no another other such both all
    i me my mine we us our ours you your yours he him his she her hers it its they them their theirs
    who whom whose which what where when why how there here itself himself herself themselves
    is are was were be been being am do does did done has have had having can could will would shall should
    may might must 's 're 've 'll 'd n't
    and or but nor so yet if as than because while then also too very just not only
    of to in on at by for from with into onto upon about as per via during within without
"""
_FUNCTION = frozenset(_WORDS.split())


def is_content(word: str) -> bool:
    """Return whether a word is a content word: False for function words, punctuation and specials like `<start>`.

    Args:
        word: A token as `crossgraph.text.tokenizer.tokenize` gives it.
    """
    lowered = word.lower()
    if lowered.startswith("<") and lowered.endswith(">"):
        return False
    return lowered not in _FUNCTION and any(character.isalnum() for character in lowered)
