"""MkDocs hook: formulas become MathML when the site is built, so no page needs a script or the network."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves of $...$ and $$...$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
# What browsers space otherwise than TeX: names of functions stand close to what follows, bars stand apart from it.
NAMED = re.compile(r"<mi>(log|exp|tanh)</mi>(?!<mo[^>]*>&#x00028;|<mrow><mo[^>]*>&#x00028;)")
BAR = '<mo stretchy="false">&#x0007C;</mo>'
CLOSE_BAR = '<mo stretchy="false" lspace="0.1em" rspace="0.1em">&#x0007C;</mo>'
UNKNOWN = re.compile(r"<m[oi]>(\\[a-zA-Z]+|&(?=<))")  # a command, or an alignment, that is left as it stood


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
    unknown = UNKNOWN.search(made)
    if unknown:
        raise ValueError(f"formula {tex!r} holds what latex2mathml does not know: {unknown[0]}")
    return NAMED.sub(r'<mi>\1</mi><mspace width="0.17em"/>', made).replace(BAR, CLOSE_BAR)
