"""Captions to tokens, tokens to word vectors."""
