"""MkDocs hook: what has to lie in its place before the pages are made.

The navigation may say `folder/*`: every page of that folder that it does not name. And the folders of the code, which
are installed under one name, get links under that name, so that the reference reads them as they will be imported.
"""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / "build" / "docs"


def on_startup(**_: Any) -> None:
    """The links are there before any plugin is configured: one that reads code looks for folders only then."""
    link_packages()


def on_config(config: Any, **_: Any) -> Any:
    """The configuration with its navigation written out."""
    config["nav"] = spread(config["nav"], Path(config["docs_dir"]), named(config["nav"]))
    return config


def named(nav: Any) -> set[str]:
    """Every page that the navigation names."""
    if isinstance(nav, str):
        return {nav}
    inner = nav.values() if isinstance(nav, dict) else nav
    return set().union(*(named(each) for each in inner))


def spread(nav: Any, root: Path, known: set[str]) -> Any:
    """The navigation with `folder/*` replaced by the folder's other pages, in the order of their names."""
    if isinstance(nav, dict):
        return {title: spread(each, root, known) for title, each in nav.items()}
    if isinstance(nav, str):
        return nav.removesuffix(".ipynb") + ".md" if nav.endswith(".ipynb") else nav
    pages: list[Any] = []
    for each in nav:
        if isinstance(each, str) and each.endswith("/*"):
            found = sorted(path.relative_to(root).as_posix() for path in (root / each[:-2]).glob("*.md"))
            pages += [page for page in found if page not in known]
        else:
            pages.append(spread(each, root, known))
    return pages


def link_packages() -> None:
    """build/docs/frmdn: a folder of links to the packages, as pyproject.toml names them.

    Links that are right stay as they are, for another build may be reading through them at this moment.
    """
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    wanted = {file.name: file for file in (ROOT / "frmdn").glob("*.py")}
    wanted |= {name.split(".")[1]: ROOT / folder for name, folder in folders.items() if name.count(".") == 1}
    shelf = LINKS / "frmdn"
    shelf.mkdir(parents=True, exist_ok=True)
    for link in shelf.iterdir():
        if link.name not in wanted or link.resolve() != wanted[link.name]:
            link.unlink()
    for name, target in wanted.items():
        with contextlib.suppress(FileExistsError):
            (shelf / name).symlink_to(target)
