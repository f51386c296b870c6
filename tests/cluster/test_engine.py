"""A real cluster of three machines, of which one is cut off and one comes later: the same run, to the last digit."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def words(settings):
    return [word for each in settings for word in ("--set", each)]


def episodes(folder):
    return {path.name: path.read_bytes() for path in (folder / "rollouts" / "episodes").iterdir()}


def test_a_search_goes_on_when_a_machine_is_cut_off_and_another_joins(machines, copy, tools):
    search = ["--replace", *words(["search.generations=24", "search.population=8", "search.validate_every=5"])]
    plain, spread = copy("plain"), copy("spread")
    program = machines.frmdn("evolve", "--run", spread, *search, workers=6)
    history = spread / "controller" / "history.jsonl"
    tools["until"](lambda: 4 <= len(tools["lines"](history)) < 24, program)
    machines.do("cut", 2)
    machines.do("ray", 3)
    said = tools["over"](program)
    tools["alone"]("evolve", "--run", plain, *search)
    assert tools["lines"](history) == tools["lines"](plain / "controller" / "history.jsonl")
    assert len(tools["lines"](history)) == 24
    assert "has 4 processors, and each of the 6 workers takes one: 4 play" in said
    assert "on machine-2" in said and "played again" in said
    assert "on machine-3) joins" in said
    assert (spread / "log.txt").read_text().count("played again") == 2


def test_a_collection_goes_on_when_a_machine_is_cut_off(machines, copy, tools):
    more = ["--replace", *words(["collect.episodes=120", "collect.max_steps=200"])]
    plain, spread = copy("plain"), copy("spread")
    program = machines.frmdn("collect", "--run", spread, *more)
    tools["until"](lambda: 12 <= len(episodes(spread)) < 120, program)
    machines.do("cut", 2)
    machines.do("ray", 3)
    assert "played again" in tools["over"](program)
    tools["alone"]("collect", "--run", plain, *more)
    assert len(episodes(plain)) == 120 and episodes(spread) == episodes(plain)


def test_an_evaluation_goes_on_when_a_node_ends_and_comes_back(machines, copy, tools):
    more = ["--replace", *words(["evaluate.episodes=60", "evaluate.max_steps=100"])]
    plain, spread = copy("plain"), copy("spread")
    program = machines.frmdn("evaluate", "--run", spread, *more)
    tools["until"](lambda: len(machines.processes(2, "ray::Host.advance")) == 2, program)
    machines.do("stop", 2)
    machines.do("ray", 2)
    assert "played again" in tools["over"](program)
    tools["alone"]("evaluate", "--run", plain, *more)
    one, two = (json.loads((folder / "evaluation.json").read_text()) for folder in (plain, spread))
    assert len(one["returns"]) == 60
    for key in ("seeds", "returns", "lengths", "mean", "ci95"):
        assert one[key] == two[key], key


def test_dreams_with_checks_in_reality_take_one_processor_a_worker(machines, copy, tools):
    plain, spread = copy("plain"), copy("spread")
    search = ["--in", "dream", "--check-every", 1, "--generations", 3, "--horizon", 10, "--replace"]
    begin = time.monotonic()
    tools["over"](machines.frmdn("evolve", "--run", spread, *search, workers=4))
    assert time.monotonic() - begin < 200
    tools["alone"]("evolve", "--run", plain, *search)
    assert tools["lines"](spread / "controller" / "history.jsonl") == tools["lines"](
        plain / "controller" / "history.jsonl"
    )


def test_nothing_stays_behind_a_driver_that_is_killed(machines, copy, tools):
    spread, before = copy("spread"), set(os.listdir("/dev/shm"))
    program = machines.frmdn("evolve", "--run", spread, "--replace", *words(["search.generations=1000"]))
    tools["until"](lambda: len(tools["lines"](spread / "controller" / "history.jsonl")) > 2, program)
    assert len(machines.processes(1, "ray::Host")) == len(machines.processes(2, "ray::Host")) == 2
    (driver,) = [pid for pid in machines.processes(1, "") if b"-m\0frmdn" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(driver, signal.SIGKILL)
    end = time.monotonic() + 60
    while machines.processes(1, "ray::Host") + machines.processes(2, "ray::Host"):
        assert time.monotonic() < end, "workers outlive their driver"
        time.sleep(0.5)
    assert set(os.listdir("/dev/shm")) <= before
    again = machines.frmdn(
        "evolve", "--run", spread, "--replace", *words(["search.generations=3"])
    )  # room for the next
    tools["over"](again)


def test_a_lost_head_is_one_line(machines, copy, tools):
    """The driver is on another machine than the head, whose cable is pulled."""
    spread = copy("spread")
    program = machines.frmdn(
        "evolve", "--run", spread, "--replace", *words(["search.generations=1000"]), machine=2, workers=2
    )
    tools["until"](lambda: len(tools["lines"](spread / "controller" / "history.jsonl")) > 2, program)
    machines.do("cut", 1)
    begin = time.monotonic()
    said, _ = program.communicate(timeout=200)
    last = said.strip().splitlines()[-1]
    assert program.returncode == 1 and "no longer answers" in last and "run the same command again" in last, said
    assert time.monotonic() - begin < 90
