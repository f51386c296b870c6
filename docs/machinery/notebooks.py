"""MkDocs hook: a notebook becomes a page with its text, its code and what it printed and drew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Beside each notebook, which stays for download, a page of the same name."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            notebook = json.loads(Path(file.abs_src_path).read_text(encoding="utf-8"))
            text = "\n".join(blocks(notebook, Path(file.src_uri).name))
            files.append(File.generated(config, page(file.src_uri), content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to notebooks, which work wherever the source is read, lead to their pages."""
    return re.sub(r"(\]\([\w./-]+)\.ipynb\)(?!\{)", r"\1.md)", markdown)


def page(source: str) -> str:
    """tutorial/x.ipynb -> tutorial/x.md."""
    return source.removesuffix(".ipynb") + ".md"


def blocks(notebook: dict[str, Any], name: str) -> Iterator[str]:
    """The cells as Markdown, with the file itself offered after the title."""
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield source + "\n"
            if number == 0:
                yield f'[The notebook itself]({name}){{ download="{name}" }}\n'
        elif cell["cell_type"] == "code":
            yield f"```python\n{source}\n```\n"
            for output in cell["outputs"]:
                yield from shown(output)


def shown(output: dict[str, Any]) -> Iterator[str]:
    """What a cell printed or drew: text, or a picture inside the page."""
    data = output.get("data", {})
    if "image/png" in data:
        yield f"![](data:image/png;base64,{''.join(data['image/png'].split())})\n"
    elif "text" in output or "text/plain" in data:
        text = "".join(output.get("text", data.get("text/plain", "")))
        yield f'```text title="prints"\n{text.rstrip()}\n```\n'
