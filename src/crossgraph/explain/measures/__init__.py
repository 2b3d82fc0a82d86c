"""Measures of a run's explanations: do words look where their objects are, and does hiding what matters matter.

`object_boxes` reads where objects are, `object_names` finds the words of a caption that name them, `pointing` and
`deletion` measure one pair, `card_entry` measures a split and describes the layout of the results.
"""

from crossgraph.explain.measures.card_entry import FORMAT_VERSION, NO_BOXES, SAMPLE, THOROUGH, measure_explanations

__all__ = ["FORMAT_VERSION", "NO_BOXES", "SAMPLE", "THOROUGH", "measure_explanations"]
