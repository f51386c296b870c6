"""From figures to HTML: templates beside this file, every text escaped, every resource inside the page."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ..drawing.figures import to_svg
from ..progress import duration


def render(template: str, **content: object) -> Markup:
    """The template of this name with its content. A name that the template asks for and did not get is an error."""
    return Markup(_ENVIRONMENT.get_template(template).render(content))  # escaped on the way


def svg(figure: Figure, alt: str) -> Markup:
    """A figure as an `<svg>` inside the page, with a text for those who cannot see it."""
    text = re.sub(r' id="[a-zA-Z0-9]+_\d+"', "", to_svg(figure))  # axes_1, ...: twice on a page with two figures
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1))


def data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def number(value: float, digits: int = 0, sign: str = "") -> str:
    """1,234.5 with a true minus; `sign="+"` shows that of positive numbers too."""
    return f"{value:{sign},.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float, *, digits: int = 0) -> str:
    """808 to 826."""
    return f"{number(low, digits)} to {number(high, digits)}"


def flat(config: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """A nested configuration as rows of dotted names and values."""
    rows: list[tuple[str, str]] = []
    for name, value in config.items():
        rows += flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, str(value))]
    return rows


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(number=number, duration=duration, svg=svg, data_url=data_url)
