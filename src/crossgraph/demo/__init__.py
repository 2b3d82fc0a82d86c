"""The whole way in a few minutes, on pictures of our own: what `crossgraph demo` does, step by step."""
