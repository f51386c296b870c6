"""The built site is whole, and no page of it asks the network for anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
HARMLESS = {"canonical", "next", "prev", "alternate"}  # kinds of <link> that load nothing


class Loads(HTMLParser):
    """Collects what a page loads by itself, and its formulas and headings."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.formulas = 0
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.formulas += tag == "math"
        target = values.get(LOADED.get(tag, "")) or ""
        if target and values.get("rel") not in HARMLESS:
            self.found.append(target)


@pytest.mark.slow
def test_no_page_loads_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for target in Loads(page).found:
            assert not re.match(r"(https?:)?//", target), f"{page.name} loads {target}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", text), f"{sheet.name} loads from elsewhere"


@pytest.mark.slow
def test_formulas_are_rendered(site: Path) -> None:
    for name, least in (("densities", 60), ("state-space", 60), ("dreams", 5)):
        page = site / "explanation" / f"{name}.html"
        assert Loads(page).formulas >= least, name
    for page in site.rglob("*.html"):
        assert 'class="arithmatex"' not in page.read_text(encoding="utf-8"), page


@pytest.mark.slow
def test_the_reference_has_every_command_and_setting(site: Path) -> None:
    from frmdn.envs.catalogue import get_spec
    from frmdn.pipeline.commands.main import parser
    from frmdn.pipeline.presets import preset
    from frmdn.pipeline.settings import flatten, to_json

    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    inner = next(action for action in parser()._actions if action.dest == "==SUPPRESS==" and action.choices)
    for command in inner.choices or ():
        assert f'id="frmdn-{command.replace(" ", "-")}"' in page, command
    assert "--ray-address" in page and "--replace" in page
    page = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    for key in flatten(to_json(preset("smoke", get_spec("CarRacing-v3")))):
        assert f"<code>{key.rpartition('.')[2]}</code>" in page, key


@pytest.mark.slow
def test_the_front_door_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in ("run.open", "run.Run.dream_env", "player.Player.act", "playing.evaluate", "search.evolve"):
        assert f'id="frmdn.pipeline.front.{name}"' in page, name
