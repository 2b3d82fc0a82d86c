"""Why a pair scored as it did: drawn for people (`drawing`), and measured (`measures`).

`description` puts the numbers of an alignment into words, `examples` finds the pictures and captions of a figure,
`feature_files` reads region features and boxes of one picture.
"""
