"""A user's pictures: found, encoded once, and kept so that nothing reported done is ever lost."""

from crossgraph.library.library import Library, default_library
from crossgraph.library.manifest import Picture

__all__ = ["Library", "Picture", "default_library"]
