"""MkDocs hook: the page of the settings is written from the dataclasses that hold them, with their comments."""

from __future__ import annotations

import html
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_type_hints

MARK = "<!-- settings -->"
LINE = re.compile(r"^    (\w+): (.+?)(?:\s+#\s(?!noqa)(.*?))?(?:\s+# noqa.*)?$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its mark replaced by a table of every section."""
    if MARK not in markdown:
        return markdown
    from frmdn.pipeline.config import RunConfig

    return markdown.replace(MARK, "\n".join(lines(RunConfig)))


def lines(config: type) -> Iterator[str]:
    """The plain settings of the configuration, and then each of its sections, as Markdown."""
    types = get_type_hints(config)
    sections = [item for item in fields(config) if is_dataclass(types[item.name])]
    yield from table(config, [item for item in fields(config) if item not in sections])
    for item in sections:
        kind = types[item.name]
        yield f"## {item.name}\n"
        yield f"{(kind.__doc__ or '').splitlines()[0]}\n"
        yield from table(kind, list(fields(kind)))


def table(owner: type, shown: list[Field[Any]]) -> Iterator[str]:
    """One row for each setting: name, type, default, and the comment beside it."""
    source = declared(owner)
    yield "| setting | type | default | what it is |\n|---|---|---|---|"
    for item in shown:
        kind, comment = source[item.name]
        yield "| " + " | ".join((f"`{item.name}`", _code(kind), _default(item), _cell(comment))) + " |"
    yield ""


def declared(owner: type) -> dict[str, tuple[str, str]]:
    """Name -> (type as written, comment) of each field in the source of a dataclass."""
    found: dict[str, tuple[str, str]] = {}
    for line in inspect.getsource(owner).splitlines():
        match = LINE.match(line)
        if match and not line.lstrip().startswith(("def ", "#", '"""')):
            found.setdefault(match[1], (match[2].split(" = ")[0], match[3] or ""))
    return found


def _default(item: Field[Any]) -> str:
    if item.default is MISSING:
        return ""
    return f"`{json.dumps(item.default)}`"


def _code(text: str) -> str:
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
