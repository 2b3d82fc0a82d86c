"""Data sets on disk: one file per layout; `open_data` finds out which it is."""

from crossgraph.data.dataset import DataSet
from crossgraph.data.opening import open_data

__all__ = ["DataSet", "open_data"]
