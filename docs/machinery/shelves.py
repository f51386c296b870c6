"""MkDocs hook: what has to lie in its place before the pages are made.

The navigation may say `folder/*`: every page of that folder that it does not name. And the folders of the code, which
are installed under one name, get links under that name, so that the reference reads them as they will be imported.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / "build" / "docs"


def on_config(config: Any, **_: Any) -> Any:
    """The configuration with its navigation written out; and the links are made."""
    config["nav"] = spread(config["nav"], Path(config["docs_dir"]), named(config["nav"]))
    link_packages()
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
    """build/docs/frmdn: a folder of links to the packages, as pyproject.toml names them."""
    shutil.rmtree(LINKS, ignore_errors=True)
    (LINKS / "frmdn").mkdir(parents=True)
    for file in (ROOT / "frmdn").glob("*.py"):
        (LINKS / "frmdn" / file.name).symlink_to(file)
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    for name, folder in folders.items():
        if name.count(".") == 1:
            (LINKS / "frmdn" / name.split(".")[1]).symlink_to(ROOT / folder)
