"""The simulated engine: what no engine can beat, and what its costs do."""

from __future__ import annotations

import pytest

from frmdn.benchmarks.engine.picture import picture
from frmdn.benchmarks.engine.simulation import Costs, generation, lengths, sweep

FREE = Costs(step=1e-3, row=1e-3, start=0.0, trip=0.0, report=0.0, look=0.0)


def test_one_worker_without_costs_takes_as_long_as_its_steps():
    timing = generation([10, 10, 10, 10], workers=1, slots=4, costs=FREE)
    assert timing.seconds == pytest.approx(10 * (1e-3 + 4e-3)) and timing.efficiency == pytest.approx(1)
    assert timing.messages == 2 and timing.driver == 0


def test_a_free_slot_takes_the_next_job_at_once():
    timing = generation([5, 10, 5], workers=1, slots=2, costs=FREE)
    assert timing.seconds == pytest.approx(10 * 3e-3) and timing.efficiency == pytest.approx(1)


def test_workers_share_the_jobs_and_the_longest_sets_the_end():
    timing = generation([100, 10, 10, 10], workers=4, slots=1, costs=FREE)
    assert timing.seconds == pytest.approx(100 * 2e-3)
    assert timing.efficiency == pytest.approx(130 / 400)


def test_a_driver_that_takes_its_time_is_what_limits_many_workers():
    slow = Costs(step=1e-3, row=1e-3, start=0.0, trip=0.0, report=0.05, look=0.0)
    few, many = sweep((2, 64), 256, 2, slow)
    assert few.efficiency > 0.8 > many.efficiency
    assert many.driver / many.seconds > 0.9


def test_episodes_are_drawn_by_seed():
    assert lengths(50, 1) == lengths(50, 1) != lengths(50, 2)
    assert all(300 <= each <= 1000 for each in lengths(500))


def test_the_picture_is_one():
    assert picture({"4 x 4": sweep((1, 2), 16, 2, FREE)})[:4] == b"\x89PNG"
