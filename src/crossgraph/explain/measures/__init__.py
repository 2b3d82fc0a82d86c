"""Measures explanations: whether words look at their objects, and whether scores depend on the important parts.

`object_boxes` reads where objects are, `object_names` finds the words of a caption that name them, `pointing` and
`deletion` measure one pair, `card_entry` measures a split and describes the layout of the results.
"""

from crossgraph.explain.measures.card_entry import FORMAT_VERSION, NO_BOXES, SAMPLE, THOROUGH, measure_explanations

__all__ = ["FORMAT_VERSION", "NO_BOXES", "SAMPLE", "THOROUGH", "measure_explanations"]
