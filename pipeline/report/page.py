"""HTML by hand: the few elements that a report is made of, every text escaped, every resource inside the page."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --page:#f4f6f9; --card:#fff; --ink:#1f2630; --soft:#5d6875; --rule:#dde2e9;
  --accent:#2f6fcb; --tint:#eaf1fb; --font: system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
  --mono: ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace; }
@media (prefers-color-scheme: dark) { :root { --page:#12161d; --card:#1a2029; --ink:#e6eaf0; --soft:#9aa5b3;
  --rule:#303945; --accent:#6ea8ff; --tint:#1e2b3f; } }
* { box-sizing: border-box }
body { margin:0; background:var(--page); color:var(--ink); font:16px/1.55 var(--font); }
main { max-width:1040px; margin:0 auto; padding:40px 20px 64px; }
header { padding:0 4px 8px }
.eyebrow { color:var(--accent); font-weight:600; letter-spacing:.02em; margin:0 }
h1 { font-size:clamp(1.8rem,4vw,2.5rem); line-height:1.15; margin:.1em 0 .2em; letter-spacing:-.02em }
h2 { font-size:1.25rem; margin:0 0 .35em; letter-spacing:-.01em }
h3 { font-size:1rem; margin:1.6em 0 .3em }
p { margin:.3em 0 .9em; max-width:74ch }
.lead, .note, figcaption, .tile span { color:var(--soft) }
.headline { font-size:clamp(2.6rem,8vw,4.4rem); font-weight:700; letter-spacing:-.035em; line-height:1;
  margin:.35em 0 .12em; font-variant-numeric:tabular-nums }
.headline small { font-size:.45em; font-weight:500; color:var(--soft); letter-spacing:-.01em }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:12px;
  margin:22px 0 4px; padding:0; list-style:none }
.tile { background:var(--card); border:1px solid var(--rule); border-radius:12px; padding:12px 16px }
.tile strong { display:block; font-size:1.3rem; line-height:1.3;
  font-variant-numeric:tabular-nums; letter-spacing:-.01em }
.tile span { font-size:.85rem }
section { background:var(--card); border:1px solid var(--rule); border-radius:16px; padding:24px 26px; margin-top:20px }
section > :last-child { margin-bottom:0 }
figure { margin:14px 0 0 }
figure svg { display:block; width:100%; height:auto } figure svg text { font-family:var(--font)!important }
figure svg image { image-rendering:pixelated }
figcaption { font-size:.88rem; margin-top:8px }
video { display:block; width:100%; border-radius:10px; background:#12161d }
.scroll { overflow-x:auto }
table { border-collapse:collapse; width:100%; font-size:.93rem; font-variant-numeric:tabular-nums; margin:.4em 0 .2em }
th, td { text-align:left; padding:7px 20px 7px 0; border-bottom:1px solid var(--rule); vertical-align:top }
thead th { color:var(--soft); font-weight:500; font-size:.85rem } tbody th { font-weight:500 }
tbody tr:last-child > * { border-bottom:0 }
th.number, td.number { text-align:right }
.bar { display:block; height:8px; border-radius:4px; background:var(--accent); min-width:2px }
td.wide { width:18%; padding-right:0; vertical-align:middle }
details { border-top:1px solid var(--rule); margin-top:14px; padding-top:10px }
summary { cursor:pointer; color:var(--accent); font-weight:500 }
code, pre { font-family:var(--mono); font-size:.88em }
pre { background:var(--tint); border-radius:10px; padding:13px 16px; overflow-x:auto; margin:.5em 0 }
.note { background:var(--tint); border-radius:10px; padding:10px 16px; max-width:none }
footer { color:var(--soft); font-size:.85rem; padding:24px 4px 0 }
:focus-visible { outline:2px solid var(--accent); outline-offset:3px; border-radius:4px }
@media (max-width:640px) { section { padding:18px 16px } .scroll table { min-width:480px }
  figure.wide { overflow-x:auto }
  figure.wide svg { min-width:620px } }
@media print { body { background:#fff } section { break-inside:avoid } }
"""


def document(title: str, body: str) -> str:
    """A whole page; `title` is text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def note(text: str, command: str = "") -> str:
    """A gap in the report, and what to run to fill it."""
    tail = f" <code>{escape(command)}</code>" if command else ""
    return f'<p class="note">{escape(text)}{tail}</p>'


def drawing(svg: str, alt: str, caption: str = "") -> str:
    """An `<svg>` inside the page, with a text for those who cannot see it."""
    svg = re.sub(
        r' id="[a-zA-Z0-9]+_\d+"', "", svg
    )  # Matplotlib names groups axes_1, ...: twice on a page with two figures
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="wide">{svg}{words}</figure>'


def video(data: bytes, poster: bytes, alt: str, caption: str) -> str:
    """A WebM and the PNG shown before it plays, both inside the page."""
    return (
        f'<figure><video controls loop muted playsinline preload="metadata" aria-label="{escape(alt)}" '
        f'poster="{data_url("image/png", poster)}" src="{data_url("video/webm", data)}">{escape(alt)}</video>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def tiles(entries: Iterable[tuple[str, str]]) -> str:
    """(value, what it is) pairs as cards."""
    items = (
        f'<li class="tile"><strong>{escape(value)}</strong><span>{escape(name)}</span></li>' for value, name in entries
    )
    return f'<ul class="tiles">{"".join(items)}</ul>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str | float]], *, shares: Sequence[float] = ()) -> str:
    """The first cell of a row is its header; numbers stand right. `shares` (0..1 a row) adds a column of bars."""
    body, kinds = [], [""] * len(heads)
    bars = iter(shares)
    for row in rows:
        kinds = ["" if isinstance(cell, str) else "number" for cell in row]
        cells = [f'<th scope="row">{escape(str(row[0]))}</th>']
        cells += [f'<td class="{k}">{_cell(c)}</td>' for k, c in zip(kinds[1:], row[1:], strict=True)]
        if shares:
            cells.append(f'<td class="wide"><span class="bar" style="width:{100 * next(bars):.1f}%"></span></td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    top = "".join(f'<th scope="col" class="{k}">{escape(h)}</th>' for h, k in zip(heads, kinds, strict=True))
    top += '<th scope="col">share</th>' if shares else ""
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _cell(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else number(value, 1 if isinstance(value, float) else 0)


def number(value: float, digits: int = 0, sign: str = "") -> str:
    """1,234.5 with a true minus; `sign="+"` shows that of positive numbers too."""
    return f"{value:{sign},.{digits}f}".replace("-", "\N{MINUS SIGN}")


def folded(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def settings(config: Mapping[str, object]) -> str:
    """A nested configuration as one table of dotted names."""
    return table(("setting", "value"), [(name, str(value)) for name, value in flat(config)])


def flat(config: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in config.items():
        inner = isinstance(value, Mapping)
        rows += flat(value, f"{prefix}{name}.") if inner else [(prefix + name, value)]  # type: ignore[arg-type]
    return rows


def code(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 12 min 30 s, 3 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
