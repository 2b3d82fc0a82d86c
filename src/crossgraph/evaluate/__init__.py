"""Evaluate score matrices: outcomes, metrics, intervals, cards."""
