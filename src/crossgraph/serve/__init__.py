"""A library over HTTP: searches, explanations, pictures and indexing as JSON, and the page that shows them.

`run.serve` runs it, `client` asks one that runs. Every other module holds one concern of the server; see
docs/serve.md for what it answers and what it refuses.
"""
