"""Published methods, one file each; `crossgraph.models.base` holds their contract and the registry."""
