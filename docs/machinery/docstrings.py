"""Griffe extension: docstrings are written for people who read the source; here they become Markdown."""

from __future__ import annotations

from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Translates every docstring that is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Examples (`>>>`) as blocks of code, and the star of a shape such as [*B,D] as a star."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        f"```pycon\n{each}\n```" if each.startswith(">>> ") else each.replace("[*", "[\\*") for each in paragraphs
    )
