"""Layers the models share: attention, pooling, similarity graphs, norms."""
