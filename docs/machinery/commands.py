"""MkDocs hook: the page of the command line is written from the parser itself, so it tells of no other."""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterator
from typing import Any

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its mark replaced by all commands."""
    if MARK not in markdown:
        return markdown
    from frmdn.pipeline.commands.main import parser

    return markdown.replace(MARK, "\n".join(lines(parser(bench=True))))


def lines(command: argparse.ArgumentParser, help: str | None = None) -> Iterator[str]:
    """A command and those inside it, as Markdown."""
    yield f"## {command.prog} {{ #{command.prog.replace(' ', '-')} }}\n"
    about = (command.description or help or "").strip()
    yield f"{about}\n"
    yield f"```text\n{command.format_usage().strip()}\n```\n"
    yield from options(command)
    if command.epilog:
        yield f"```text\n{(command.epilog % {'prog': command.prog}).strip()}\n```\n"
    for inner in command._actions:
        if isinstance(inner, argparse._SubParsersAction):
            for name, each in inner.choices.items():
                helps = {action.dest: action.help for action in inner._choices_actions}
                yield from lines(each, helps.get(name))


def options(command: argparse.ArgumentParser) -> Iterator[str]:
    """One table for each group of arguments that has any, without --help."""
    formatter = command._get_formatter()
    for group in command._action_groups:
        shown = [action for action in group._group_actions if not _is_other(action)]
        if not shown:
            continue
        if group.title not in ("options", "positional arguments"):
            yield f"{(group.title or '').capitalize()}:\n"
        yield "| option | what it does |\n|---|---|"
        for action in shown:
            option = formatter._format_action_invocation(action)
            yield f"| <code>{_cell(option)}</code> | {_cell(_help(command, action))} |"
        yield ""


def _is_other(action: argparse.Action) -> bool:
    kinds = (argparse._HelpAction, argparse._SubParsersAction)
    return isinstance(action, kinds) or action.help == argparse.SUPPRESS


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = command._get_formatter()._expand_help(action) if action.help else ""
    return text + (" (required)" if action.required else "")


def _cell(text: str) -> str:
    return html.escape(text).replace("|", "&#124;").replace("*", "&#42;").replace("\n", " ")
