"""Figures of alignments: `alignment_figure` draws one pair, `examples_figure` captions with what is found for them.

Both draw on a `canvas`: bar charts of the words' significance and, for each word, a heatmap over the picture.
"""
