"""The sets that are built in: real kanji, words nobody has seen, and touches that keep time."""

from __future__ import annotations

import sys
from importlib import metadata

import numpy as np
import pytest

from frmdn.agent.errors import MissingExtra
from frmdn.rollouts.sources.strokes import kanji as kanji_module
from frmdn.rollouts.sources.strokes.builtin import strokes
from frmdn.rollouts.sources.strokes.touches import SECONDS, lognormal, perform
from frmdn.rollouts.sources.strokes.words import Hand, draw_hand, glyphs, split_words, write, written


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first hundred files of KanjiVG."""
    pytest.importorskip("HersheyFonts")
    files = kanji_module._files()[:100]
    monkeypatch.setattr(kanji_module, "_files", lambda: files)
    kanji_module.read_kanji.cache_clear()
    yield
    kanji_module.read_kanji.cache_clear()


def test_kanji_have_their_strokes(few: None) -> None:
    found = kanji_module.read_kanji()
    assert len(found) == 100
    counts = {name: len(found[name].lines) for name in "一丁七三上不"}
    assert counts == {"一": 1, "丁": 2, "七": 2, "三": 3, "上": 3, "不": 4}
    assert found["三"].text == "三"
    points = np.concatenate([each.points for each in found.values()])
    assert np.abs(points).max() < 109 / 2
    one = found["一"].lines[0]
    assert one[-1, 0] - one[0, 0] > 60 and abs(one[-1, 1] - one[0, 1]) < 10  # from left to right, level


def test_hands_are_drawn_by_seed_and_write_the_same_word_differently() -> None:
    pytest.importorskip("HersheyFonts")
    hand = Hand("futural", 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    plain = write("lo", hand, np.random.default_rng(0))
    assert [len(glyphs("futural")[letter][0]) for letter in "lo"] == [1, 1] and len(plain.lines) == 2
    bar = plain.lines[0]
    assert abs(bar[:, 0].std()) < 1e-6 and bar[:, 1].min() < -1.3 and abs(bar[:, 1].max()) < 1e-6  # on the base line
    assert plain.lines[1][:, 0].min() > bar[:, 0].max()  # the next letter stands to the right
    leaning = write("lo", Hand("futural", 0.3, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0), np.random.default_rng(0)).lines[0]
    top, foot = leaning[leaning[:, 1].argmin()], leaning[leaning[:, 1].argmax()]
    assert abs((top[0] - foot[0]) - 0.3 * (foot[1] - top[1])) < 1e-6  # to the right at the top
    with pytest.raises(ValueError, match=r"\['!', 'L'\]"):
        write("Lo!", hand, np.random.default_rng(0))
    assert draw_hand(np.random.default_rng(3)) == draw_hand(np.random.default_rng(3))


def test_held_out_words_are_never_trained_on() -> None:
    pytest.importorskip("HersheyFonts")
    words = split_words()
    assert len(words["test"]) == 200 and len(words["validation"]) == 100
    drawn = {word for each in written("train", 3000) for word in each.text.split()}
    assert not drawn & {*words["test"], *words["validation"]}
    assert {letter for word in drawn for letter in word} == set("abcdefghijklmnopqrstuvwxyz")
    assert [each.text for each in written("test", 200)] == words["test"]
    again = written.__wrapped__("train", 5)
    assert all((a.offsets == b.offsets).all() for a, b in zip(again, written("train", 3000)[:5], strict=True))


def test_touches_keep_time_and_stay_on_the_screen() -> None:
    found = [perform("train", i) for i in range(60)]
    for each in found:
        assert each.clock is not None and each.clock[-1] <= SECONDS and 1 <= len(each) <= 100
        assert np.abs(each.points).max() < 0.52
    assert (perform("train", 3).offsets == found[3].offsets).all()
    assert not (len(perform("test", 3)) == len(found[3]) and (perform("test", 3).offsets == found[3].offsets).all())
    time = np.linspace(0.01, 3, 2000)
    done = lognormal(time, 0.0, np.log(0.4), 0.3)
    assert abs(np.interp(0.5, done, time) - 0.4) < 1e-3  # half of it is done at the median, exp(mu)
    assert done[-1] > 0.999 and (np.diff(done) >= -1e-7).all()


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(kanji_module, "files", missing)
    kanji_module.read_kanji.cache_clear()
    with pytest.raises(MissingExtra, match=r"--data kanji needs kanjivg.*frmdn\[strokes\]"):
        strokes("kanji")
    glyphs.cache_clear()
    monkeypatch.setitem(sys.modules, "HersheyFonts", None)
    with pytest.raises(MissingExtra, match="Hershey-Fonts"):
        glyphs("futural")
    with pytest.raises(ValueError, match="'hieroglyphs' is no set of drawings"):
        strokes("hieroglyphs")
