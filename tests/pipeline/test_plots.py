"""The figures: they show the numbers they were given, draw what is there, and leave no state behind."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from frmdn.pipeline.drawing import figures
from frmdn.pipeline.drawing.canvas import Controls
from frmdn.pipeline.report import plots
from frmdn.pipeline.report.drive import DriveRecord

VISION = [
    {"step": 10 * i, "loss": 90.0 / i, "reconstruction": 60.0 / i, "kl": 16.0, "seconds": float(i)}
    | (
        {"validation_loss": 95.0 / i, "validation_reconstruction": 70.0 / i, "validation_kl": 16.5}
        if i % 4 == 0
        else {}
    )
    for i in range(1, 21)
] + [{"step": 205, "validation_loss": 5.0}]  # a line of validation alone
SEARCH: list[dict[str, Any]] = [
    {"generation": g, "mean": 10.0 * g, "best": 20.0 * g, "std": 3.0, "sigma": 0.1 / g, "episodes": 8, "seconds": 30.0}
    for g in range(1, 7)
]
SEARCH[4]["validation"] = 77.0


def line(figure: Figure, axes: int, label: str) -> tuple[list[float], list[float]]:
    (found,) = [curve for curve in figure.axes[axes].lines if curve.get_label() == label]
    return list(found.get_xdata()), list(found.get_ydata())


def evaluation(returns: list[float]) -> dict[str, Any]:
    mean = float(np.mean(returns))
    return {"returns": returns, "mean": mean, "ci95": [mean - 1, mean + 1]}


def test_training_and_held_out_curves_carry_their_numbers() -> None:
    figure = plots.vision_curves(VISION)
    assert len(figure.axes) == 3
    assert line(figure, 0, "training") == ([10.0 * i for i in range(1, 21)], [90.0 / i for i in range(1, 21)])
    assert line(figure, 0, "held out") == ([40, 80, 120, 160, 200, 205], [95 / i for i in (4, 8, 12, 16, 20)] + [5.0])
    assert all(axes.get_ylabel() and axes.get_xlabel() for axes in figure.axes)


def test_parts_that_a_history_lacks_are_left_out() -> None:
    figure = plots.memory_curves([{"step": 1, "nll_per_dim": -1.5}, {"step": 2, "nll_per_dim": float("nan")}])
    assert len(figure.axes) == 1
    assert line(figure, 0, "training") == ([1.0], [-1.5])  # a NaN is no point


def test_a_steep_start_does_not_flatten_the_rest() -> None:
    history = [{"step": i, "nll_per_dim": 1000.0 if i == 0 else 1.0 + 1.0 / i} for i in range(50)]
    _, top = plots.memory_curves(history).axes[0].get_ylim()
    assert top < 10


def test_long_curves_are_averaged_down() -> None:
    history = [{"step": i, "nll_per_dim": float(i % 2)} for i in range(10_000)]
    x, y = line(plots.memory_curves(history), 0, "training")
    assert len(x) <= 400 and y == pytest.approx([0.5] * len(y), abs=0.021) and x[-1] > 9_900


def test_the_search_shows_generations_and_working_time() -> None:
    figure = plots.evolution_curves(SEARCH)
    _, sigma, cost = figure.axes
    assert line(figure, 0, "population mean")[1] == [10.0 * g for g in range(1, 7)]
    assert line(figure, 0, "CMA's mean, validation seeds") == ([5.0], [77.0])
    assert list(sigma.lines[0].get_ydata()) == [0.1 / g for g in range(1, 7)]
    assert list(cost.lines[0].get_xdata()) == [0.5 * g for g in range(1, 7)]  # minutes: lines hold seconds of their own
    assert list(cost.lines[1].get_xdata()) == [2.5] and "48 episodes" in cost.get_title(loc="left")


def test_rounds_show_what_reality_paid_and_what_it_cost() -> None:
    rounds = [
        {"round": 1, "collected": -30.0, "validation": 100.0, "real_steps": 1000},
        {"round": 2, "collected": 60.0, "validation": None, "real_steps": 2000},
        {"round": 3, "collected": 70.0, "validation": 400.0, "real_steps": 3000, "final": 350.0},
    ]
    figure = plots.rounds_curves(rounds)
    main, cost = figure.axes
    curves = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in main.lines}
    assert curves["exploring, collected"] == [[1, -30], [2, 60], [3, 70]]
    assert curves["kept agent, validation seeds"] == [[1, 100], [3, 400]]
    assert curves["finalists, further seeds"] == [[3, 350]]
    assert np.asarray(cost.lines[0].get_xydata()).tolist() == [[1000, 100], [3000, 400]]


def test_the_evaluation_shows_every_return_of_every_policy() -> None:
    report = evaluation([700.0, 800.0, 900.0]) | {"baselines": {"random": evaluation([-40.0, -30.0])}}
    axes = plots.evaluation_figure(report).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["agent", "random"]
    assert [list(dots.get_offsets()[:, 0]) for dots in axes.collections] == [[700, 800, 900], [-40, -30]]
    assert list(axes.lines[0].get_xdata()) == [799, 801] and list(axes.lines[1].get_xdata()) == [800, 800]


def test_tiles_hold_the_pixels_in_their_places() -> None:
    rng = np.random.default_rng(0)
    frames, decoded = rng.integers(0, 256, (2, 5, 64, 64, 3), np.uint8)
    sheet = plots.reconstruction_grid(frames, decoded).axes[0].images[0].get_array()
    assert sheet.shape == (132, 5 * 68 - 4, 4)
    assert (sheet[:64, 68:132, :3] == frames[1]).all() and (sheet[68:, 272:, :3] == decoded[4]).all()
    assert not sheet[64:68, :, 3].any()  # the gap lets the page through
    with pytest.raises(ValueError, match="one shape"):
        plots.reconstruction_grid(frames, decoded[:2])


@pytest.mark.parametrize(("steps", "shown"), [(100, 8), (3, 3)])
def test_the_filmstrip_puts_the_expectation_under_its_frame(steps: int, shown: int) -> None:
    t = np.arange(steps + 1, dtype=np.uint8)[:, None, None, None]
    same = np.broadcast_to(t, (steps + 1, 64, 64, 1))
    none = np.zeros(3, np.float32)
    record = DriveRecord(
        0, same, same, same, np.zeros((steps, 3), np.float32), np.zeros(steps, np.float32), Controls("x", none, none)
    )
    axes = plots.filmstrip(record).axes[0]
    sheet = axes.images[0].get_array()
    heads = [int(text.get_text().split()[1]) for text in axes.get_xticklabels()]
    assert len(heads) == shown and heads[0] >= 1 and heads[-1] == steps
    for column, instant in enumerate(heads):
        assert [int(sheet[row * 68, column * 68, 0]) for row in range(3)] == [instant] * 3


def test_svg_stands_in_a_page_and_turns_with_its_theme() -> None:
    svg = figures.to_svg(plots.evolution_curves(SEARCH))
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and "return by generation" in "".join(root.itertext())  # text is text
    assert "var(--ink" in svg and "<?xml" not in svg and len(svg) < 100_000
    assert svg == figures.to_svg(plots.evolution_curves(SEARCH))  # the same numbers, the same bytes


def test_png_is_a_picture() -> None:
    assert figures.to_png(plots.vision_curves(VISION), dpi=50)[:4] == b"\x89PNG"


def test_figures_leave_no_state_and_need_no_pyplot() -> None:
    before = dict(matplotlib.rcParams)
    figures.to_svg(plots.vision_curves(VISION))
    assert dict(matplotlib.rcParams) == before
    program = "import sys, frmdn.pipeline.report.plots; assert 'matplotlib.pyplot' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
