"""Search in a picture library: nearest neighbours first, then the re-ranker that compares words and regions."""

from crossgraph.search.engine import Searcher
from crossgraph.search.query import Query, parse_query
from crossgraph.search.results import Hit, Results, Timings

__all__ = ["Hit", "Query", "Results", "Searcher", "Timings", "parse_query"]
