"""`frmdn bench`: it says what is coming, shows every row as soon as it is there, and keeps them when it is stopped."""

from __future__ import annotations

import itertools
import json
import sys
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from frmdn.benchmarks import row
from frmdn.benchmarks.main import LOOPS, Loop, forecast
from frmdn.benchmarks.row import ROUNDS, Meter, Row
from frmdn.pipeline.commands.main import main
from frmdn.rollouts.episodes.episode import StoreError
from frmdn.rollouts.workers import SerialPool

Register = Callable[[str, int, Callable[[int, Meter], Iterator[Row]]], None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Puts a loop into the table, and its module where the benchmarks are."""

    def put(name: str, sides: int, measured: Callable[[int, Meter], Iterator[Row]]) -> None:
        module = types.ModuleType(f"frmdn.benchmarks.{name}")
        setattr(module, name, measured)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(LOOPS, name, Loop(name, sides, "nothing"))

    return put


def fast(workers: int, meter: Meter) -> Iterator[Row]:
    """Two rows, one after the other: 6, 2 and 12 units a call, so that who is who shows in the rates."""
    for name in ("first", "second"):
        rates = meter.measure({"ours": lambda: 6.0, "classical": lambda: 2.0, "limit": lambda: 12.0})
        yield Row(name, rates["ours"], rates["classical"], "units/s", rates["limit"], f"{workers} workers")


def broken(workers: int, meter: Meter) -> Iterator[Row]:
    yield next(fast(workers, meter))
    raise RuntimeError("the loop fell over")


def interrupted(workers: int, meter: Meter) -> Iterator[Row]:
    yield next(fast(workers, meter))
    raise KeyboardInterrupt


def test_a_row_compares_its_three_sides(
    register: Register, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that ticks each time it is read: a machine with other work to do gives the same rates."""
    register("fast", 6, fast)
    ticks = itertools.count(1)
    monkeypatch.setattr(row, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks) / 1000))
    assert main(["bench", "fast", "--seconds", "0.3", "--workers", "3", "--json"]) == 0
    captured = capsys.readouterr()
    first, second = json.loads(captured.out)
    assert (first["name"], second["name"], first["unit"], first["note"]) == ("first", "second", "units/s", "3 workers")
    assert first["ratio"] == pytest.approx(3, rel=0.01) and first["limit"] == pytest.approx(2 * first["ours"], rel=0.01)
    assert first["ours"] == pytest.approx(6 * 1000, rel=0.02)  # six units a call, one call a tick
    assert "first" in captured.err and "x the classical" in captured.err  # rows come on stderr, beside the progress


def test_it_says_how_long_it_will_take_before_it_begins(register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    register("fast", 6, fast)
    main(["bench", "fast", "--seconds", "0.06"])
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0].startswith("6 sides of 0.06 s: at least 0.4 s")
    assert "fast      100 %  18 of 18 turns, limit" in captured.err and captured.out.count("of the limit") == 2
    sides = sum(loop.sides for name, loop in LOOPS.items() if name != "fast")
    assert forecast([name for name in LOOPS if name != "fast"], 60.0).startswith(
        f"{sides} sides of 60 s: at least {sides}"
    )


def test_turns_are_told_with_their_time_left(register: Register) -> None:
    told: list[tuple[int, str]] = []
    list(fast(1, Meter(0.03, lambda turns, side: told.append((turns, side)))))
    assert sum(turns for turns, _ in told) == 2 * 3 * ROUNDS and told[0] == (0, "warm")
    assert [side for _, side in told[1:4]] == ["ours", "classical", "limit"]


@pytest.mark.parametrize(
    ("loop", "code", "says"), [(broken, 1, "the loop fell over"), (interrupted, 130, "stopped: 3")]
)
def test_what_is_measured_outlives_the_end(
    loop: Callable[[int, Meter], Iterator[Row]],
    code: int,
    says: str,
    register: Register,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register("fast", 6, fast)
    register("stopping", 6, loop)
    path = tmp_path / "new" / "bench.json"
    words = ["bench", "fast", "stopping", "--seconds", "0.03", "--json", "--out", str(path)]
    assert main(words) == code
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [line["name"] for line in found] == ["first", "second", "first"] and json.loads(path.read_text()) == found
    assert says in captured.err


def test_the_file_has_each_row_when_the_next_one_begins(register: Register, tmp_path: Path) -> None:
    path, seen = tmp_path / "bench.json", []

    def looking(workers: int, meter: Meter) -> Iterator[Row]:
        for found in fast(workers, meter):
            yield found
            seen.append([line["name"] for line in json.loads(path.read_text())])

    register("looking", 6, looking)
    assert main(["bench", "looking", "--seconds", "0.03", "--out", str(path)]) == 0
    assert seen == [["first"], ["first", "second"]]


def test_the_users_mistakes_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "flying"]) == 2
    assert "no benchmark flying; choose from collect" in capsys.readouterr().err
    assert main(["bench", "vision", "--out", str(tmp_path)]) == 2
    assert "not the folder" in capsys.readouterr().err
    for words in (["--seconds", "-1"], ["--seconds", "nan"], ["--workers", "0"]):
        with pytest.raises(SystemExit):
            main(["bench", "vision", *words])


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    words = capsys.readouterr().out
    assert all(f"\n  {name} " in words for name in LOOPS) and "at least 17 min 00 s" in words and "examples:" in words


class Counting(Meter):
    """Counts the sides of a loop, and times none of them."""

    sides = 0

    def measure(self, works: dict[str, Callable[[], float]]) -> dict[str, float]:
        type(self).sides += len(works)
        return dict.fromkeys(works, 1.0)


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_the_table_knows_the_sides_of_each_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loops, built and not timed: another side would make the time said before the start a lie."""
    from frmdn.envs import MissingExtra

    module = import_module(f"frmdn.benchmarks.{LOOPS[name].module}")
    monkeypatch.setattr(module, "open_pool", lambda make, workers: _serial(make), raising=False)
    monkeypatch.setattr(module, "peak", lambda: 0, raising=False)  # a process of its own, which takes its time
    monkeypatch.setattr(Counting, "sides", 0)
    try:
        measured: Iterator[Row] = getattr(module, LOOPS[name].module)(1, Counting(0.0))
        while True:
            try:
                next(measured)
            except (StopIteration, StoreError):  # collect reads back what it stored, and has stored nothing
                break
    except MissingExtra as missing:
        pytest.skip(str(missing))
    assert Counting.sides == LOOPS[name].sides


def _serial(make: Callable[[], object]) -> object:
    import contextlib

    return contextlib.closing(SerialPool(make))  # type: ignore[arg-type]
