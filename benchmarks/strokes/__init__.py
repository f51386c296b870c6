"""The bench of strokes."""

from .epoch import strokes

__all__ = ["strokes"]
