"""Draws alignments: `alignment_figure` one pair, `examples_figure` captions with their best answers.

Both draw on a `canvas`: bar charts of the words' significance and, for each word, a heatmap over the picture.
"""
