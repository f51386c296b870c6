"""A sheet shows every stroke where it belongs, and moving pictures show them when."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from frmdn.pipeline.strokes.canvas import CALL, INK, Cell, lay_out
from frmdn.pipeline.strokes.pictures import encode, to_svg
from frmdn.rollouts.sources.strokes.carrier import Strokes

CROSS = Strokes.of_lines([np.array([[0.0, 1], [2, 1]]), np.array([[1.0, 0], [1, 2]])])
TIMED = Strokes.of_lines(
    [np.array([[0.0, 0], [1, 0]]), np.array([[1.0, 1], [0, 1]])], [np.array([0.5, 1]), np.array([2.0, 4])]
)


def test_cells_keep_their_shapes_and_their_places() -> None:
    sheet = lay_out([[Cell(CROSS), Cell(CROSS)], [Cell(CROSS)]], height=100)
    assert len(sheet.lines) == 6
    bars = [line.points for line in sheet.lines[::2]]
    for bar in bars:
        np.testing.assert_allclose(bar[1] - bar[0], [80, 0])  # 2 units in 0.8 of 100 pixels
    assert bars[1][0, 0] > bars[0][1, 0] and bars[1][0, 1] == bars[0][0, 1]
    assert bars[2][0, 0] == bars[0][0, 0] and bars[2][0, 1] == bars[0][0, 1] + 100
    inside = np.concatenate([line.points for line in sheet.lines])
    assert (inside > 0).all() and (inside < [sheet.width, sheet.height]).all()
    with pytest.raises(ValueError, match="needs a drawing"):
        lay_out([])


def test_what_was_given_has_its_own_colour_also_inside_a_stroke() -> None:
    line = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0]])
    sheet = lay_out([[Cell(Strokes.of_lines([line]), given=2)]])
    assert [each.colour for each in sheet.lines] == [CALL, INK]
    np.testing.assert_allclose(sheet.lines[0].points[-1], sheet.lines[1].points[0])  # they touch
    assert sum(len(each.points) for each in sheet.lines) == 5


def test_times_are_those_of_the_drawing_or_of_an_even_pen() -> None:
    assert [line.seconds.tolist() for line in lay_out([[Cell(TIMED)]]).lines] == [[0.5, 1.0], [2.0, 4.0]]
    bar, pole = (line.seconds for line in lay_out([[Cell(CROSS)]]).lines)
    assert abs((bar[1] - bar[0]) - (pole[1] - pole[0])) < 1e-9 and pole[0] > bar[1]


def test_svg_is_whole_and_moves_when_it_should() -> None:
    sheet = lay_out([[Cell(TIMED, title="a < b")]])
    for animate in (False, True):
        root = ElementTree.fromstring(to_svg(sheet, animate))
        names = [node.tag.rpartition("}")[2] for node in root.iter()]
        assert names.count("path") == 2 and names.count("animate") == 2 * animate
        assert "a < b" in [node.text for node in root.iter()]
    times = re.findall(r'keyTimes="([^"]*)"', to_svg(sheet, True))
    starts = [float(each.split(";")[1]) for each in times]
    whole = 4.0 + 1.5
    np.testing.assert_allclose(starts, [0.5 / whole, 2 / whole], atol=1e-3)


def test_a_gif_draws_itself() -> None:
    sheet = lay_out([[Cell(TIMED)]])
    picture = Image.open(io.BytesIO(encode(sheet, ".gif")))
    frames, lasts = [], 0.0
    for place in range(picture.n_frames):
        picture.seek(place)
        lasts += picture.info["duration"] / 1000
        frames.append((np.asarray(picture.convert("L")) < 128).sum())
    assert abs(lasts - (4.0 + 1.5)) < 0.1  # equal frames are one that stays
    assert frames[0] == 0 and all(b >= a for a, b in pairwise(frames)) and frames[-1] > frames[1] > 0
    still = np.asarray(Image.open(io.BytesIO(encode(sheet, ".png"))).convert("L"))
    assert abs(int((still < 128).sum()) - int(frames[-1])) <= 0.05 * frames[-1]


@pytest.mark.parametrize(
    ("suffix", "animate", "says"), [(".jpg", False, "must end with .svg"), (".png", True, "--animate")]
)
def test_other_endings_are_refused(suffix: str, animate: bool, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encode(lay_out([[Cell(CROSS)]]), suffix, animate)
