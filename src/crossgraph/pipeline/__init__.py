"""The object for people: `crossgraph.load(run)` takes paths, pictures and strings, and gives arrays and alignments.

import crossgraph as cg

pipe = cg.load("runs/saf")
ranking = pipe.rank(texts=["a dog in snow"], pictures=["a.jpg", "b.jpg"])
ranking.best_pictures()
pipe.explain("a.jpg", "a dog in snow").weights
"""

from crossgraph.pipeline.alignment import AlignedToken, Alignment, alignment_of
from crossgraph.pipeline.codes import Match, PictureCodes, Ranking, TextCodes
from crossgraph.pipeline.pictures import PictureLike, Pictures
from crossgraph.pipeline.pipeline import Pipeline, UnknownWords, load

__all__ = [
    "AlignedToken",
    "Alignment",
    "Match",
    "PictureCodes",
    "PictureLike",
    "Pictures",
    "Pipeline",
    "Ranking",
    "TextCodes",
    "UnknownWords",
    "alignment_of",
    "load",
]
