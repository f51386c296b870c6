"""Errors of the worlds that are not the plain ValueError of a wrong argument."""

from __future__ import annotations

from frmdn.agent.errors import MissingExtra

__all__ = ["MissingExtra"]
