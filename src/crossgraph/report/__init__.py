"""Writes one self-contained page on runs: figures, curves, answers, and what each word looked at; needs no network."""
