"""Image-text matching you can train, search with, and look inside."""

__version__ = "0.1.0"
