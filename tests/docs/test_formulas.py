"""Formulas become MathML, and one that cannot is named: no page shows half of a formula."""

from __future__ import annotations

from pathlib import Path

import pytest

MACHINERY = Path(__file__).resolve().parents[2] / "docs" / "machinery"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MACHINERY))


def test_both_kinds_become_mathml() -> None:
    from formulas import on_page_content

    page = '<p><span class="arithmatex">\\(a &lt; b\\)</span></p><div class="arithmatex">\\[\\sum_k \\pi_k\\]</div>'
    made = on_page_content(page)
    assert made.count("<math") == 2 and made.count('display="block"') == 1
    assert "arithmatex" not in made and "&#x0003C;" in made


def test_names_of_functions_stand_apart_from_letters_only() -> None:
    from formulas import mathml

    assert "<mspace" in mathml(r"\log p", "inline") and "<mspace" not in mathml(r"\log(p)", "inline")


@pytest.mark.parametrize(
    "tex", [r"\unknowncommand x", r"\begin{aligned} a &amp;= b \\ c &amp;= d \end{aligned}", r"\left( x"]
)
def test_what_the_converter_does_not_know_is_named(tex: str) -> None:
    from formulas import mathml

    with pytest.raises(ValueError, match="formula"):
        mathml(tex, "block")
