"""Every block of Python that a page shows is run, in the order of the page; every command line is one that exists."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from frmdn.pipeline.commands.main import parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*/*.md"))]
HISTORY = {ROOT / "docs" / "decisions", ROOT / "docs" / "notes"}  # what was run then
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def pages(language: str) -> list[Path]:
    found = [page for page in PAGES if page.parent not in HISTORY and blocks(page, language)]
    assert found, f"no page shows any {language}"
    return found


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_tutorials_show_python() -> None:
    shown = {name(page) for page in pages("python")}
    wanted = {"README.md", "docs/how-to/own-data.md", "docs/how-to/own-world.md", "docs/reference/python.md"}
    wanted |= {f"docs/tutorial/first-{thing}.md" for thing in ("agent", "dream", "density")}
    assert wanted <= shown


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", pages("python"), ids=name)
def test_the_python_of_a_page_runs(page: Path, desk: Path) -> None:
    known = set(gymnasium.registry)
    try:
        space: dict[str, object] = {"__name__": "__main__"}
        for number, text in enumerate(blocks(page, "python")):
            exec(compile(text, f"{name(page)}, block {number + 1}", "exec"), space)
    finally:
        for id in set(gymnasium.registry) - known:
            del gymnasium.registry[id]


@pytest.mark.parametrize("program", sorted((ROOT / "docs" / "examples").glob("*.py")), ids=name)
def test_what_a_program_takes_from_frmdn_is_there(program: Path) -> None:
    """Also where the other packages that it needs are not installed."""
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("frmdn"):
            module = importlib.import_module(node.module or "")
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)], node.module


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `frmdn ...` that a page shows: on a line of its own in a block, or with options inline."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip() for block in blocks(page, "sh") for line in block.splitlines()]
    lines += [line for line in re.findall(r"`(frmdn [^`]+)`", text) if " --" in line]
    for line in lines:
        if line.startswith("frmdn "):
            yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("page", pages("sh"), ids=name)
def test_the_commands_of_a_page_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(page):
        try:
            parser(bench=True).parse_args(words)
        except SystemExit as end:
            assert end.code == 0, f"{name(page)}: frmdn {shlex.join(words)}: {capsys.readouterr().err}"
