"""Pictures to regions: finding and reading pictures, and the region encoders that turn them into vectors."""
