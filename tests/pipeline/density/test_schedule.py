"""Budgets: time that stands still between phases, steps that repeat bit for bit, a rate that falls with the share."""

from __future__ import annotations

import time

import pytest

from frmdn.pipeline.density import schedule
from frmdn.pipeline.density.schedule import FINAL, Recipe, Watch


def test_the_watch_counts_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: now[0])
    watch = Watch(10.0, None, spent=(1.0, 0.5))
    now[0] += 5  # not started: validation, say
    assert watch.seconds == 1.0
    watch.run()
    now[0] += 2
    watch.run()  # already running: no second start
    now[0] += 2
    assert watch.seconds == 5.0 and watch.share == 0.5
    watch.pause()
    now[0] += 100
    assert watch.seconds == 5.0
    watch.run()
    now[0] += 100
    assert watch.share == 1.0


def test_a_real_second_is_a_second() -> None:
    watch = Watch(1.0, None)
    watch.run()
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.05:
        pass
    watch.pause()
    assert 0.05 <= watch.seconds < 30 and 0 < watch.spent[1] <= 0.06


@pytest.mark.parametrize("steps", [None, 40])
def test_the_rate_falls_from_full_to_the_last_hundredth(steps: int | None) -> None:
    watch = Watch(None if steps else 8.0, steps)
    config = Recipe(budget=watch.budget, steps=steps, learning_rate=0.5).fit_config(watch)
    rates = []
    for quarter in range(5):
        if steps:
            watch.done = 10 * quarter
        else:
            watch._spent = 2.0 * quarter, 0.0
        rates.append(config.rate(0))
    assert rates[0] == 0.5 and rates[4] == pytest.approx(0.5 * FINAL)
    assert rates[2] == pytest.approx(0.5 * (1 + FINAL) / 2) and rates == sorted(rates, reverse=True)
