"""MkDocs hook: formulas become MathML when the site is built, so no page needs a script or the network."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves of $...$ and $$...$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """The page with each formula as a <math> element."""
    content = BLOCK.sub(lambda match: f'<div class="formula">{mathml(match[1], "block")}</div>', content)
    return INLINE.sub(lambda match: mathml(match[1], "inline"), content)


def mathml(escaped: str, display: str) -> str:
    """One formula, in TeX as it stands in HTML, as MathML; what the converter does not know raises ValueError."""
    tex = html.unescape(escaped).strip()
    try:
        made: str = convert(tex, display=display)
    except Exception as error:
        raise ValueError(f"formula {tex!r} is no TeX that latex2mathml reads: {error}") from error
    unknown = re.search(r"<m[oi]>\\\\?[a-zA-Z]+", made)
    if unknown:
        raise ValueError(f"formula {tex!r} holds a command that latex2mathml does not know: {unknown[0]}")
    return made
