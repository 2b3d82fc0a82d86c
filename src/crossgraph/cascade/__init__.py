"""Score a split by retriever and re-ranker: all pairs coarsely, a few per query exactly."""
