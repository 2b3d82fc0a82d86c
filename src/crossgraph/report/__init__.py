"""One page that shows what runs can do and what they look at: self-contained, from a file, without a network."""
