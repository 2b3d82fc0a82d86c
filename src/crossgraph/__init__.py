"""Image-text matching you can train, search with, and look inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossgraph.pipeline import Pipeline, load

__version__ = "0.1.0"
__all__ = ["Pipeline", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch only when it is asked for."""
    if name in ("load", "Pipeline"):
        from crossgraph import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'crossgraph' has no attribute '{name}'")
