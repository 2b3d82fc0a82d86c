"""Draws why a pair scored as it did (`drawing`), and measures how far that can be believed (`measures`).

`description` puts the numbers of an alignment into words, `examples` finds the pictures and captions of a figure,
`feature_files` reads region features and boxes of one picture.
"""
