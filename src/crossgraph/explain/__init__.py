"""Why a pair scored as it did: drawn for people (figure, pair_figure), and measured (measures).

Drawing: heat (weights as a density over the picture), panels, bars, sheet (the page), lettering (any script),
shown (a picture's pixels), theme, wording, pairs (what a right and a wrong pair are), own_features.
Measuring: boxes and naming (which words name a boxed object), pointing, deletion, measures.
"""
