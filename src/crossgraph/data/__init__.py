"""Read data sets of any layout: `open_data` recognises the layout of a folder."""

from crossgraph.data.dataset import DataSet
from crossgraph.data.opening import open_data

__all__ = ["DataSet", "open_data"]
