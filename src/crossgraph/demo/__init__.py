"""`crossgraph demo`: from drawn pictures to trained models, a page and a searchable library in a few minutes."""
