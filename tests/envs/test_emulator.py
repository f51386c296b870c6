"""The second build of Super Mario's emulator: the same game to the bit, and one line where it cannot be had."""

from __future__ import annotations

import ctypes
import json
import shutil
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

from frmdn.envs.catalogue import get_spec
from frmdn.envs.worlds import emulator
from frmdn.envs.worlds.super_mario_console import Console, _game_class, package
from frmdn.pipeline.commands.emulator import compare
from frmdn.pipeline.commands.main import main

first_generation = pytest.mark.skipif(not package().startswith("gym-super-mario-bros 7"), reason="needs nes-py 8")
needs_build = pytest.mark.skipif(emulator.built() is None, reason="run frmdn emulator first, as make does")
needs_pip = pytest.mark.skipif(
    find_spec("pip") is None or shutil.which(emulator.COMPILER) is None, reason="needs pip and g++"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the second build would be: in a folder of the test's own."""
    path = tmp_path / "frmdn_nes_env-8.2.1.so"
    monkeypatch.setattr(emulator, "second_build", lambda: path)
    return path


@pytest.mark.rom
@needs_build
@first_generation
def test_both_builds_play_the_same_game_bit_for_bit() -> None:
    seconds = compare()
    assert min(seconds) > 0
    plain, ours = Console((1, 1), plain=True), Console((1, 1))
    try:
        assert plain._game._screen_buffer.__globals__["_LIB"] is not ours._game._screen_buffer.__globals__["_LIB"]
    finally:
        plain.close()
        ours.close()


@pytest.mark.rom
@needs_build
@first_generation
def test_a_build_that_plays_another_game_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    press = Console.press
    monkeypatch.setattr(
        Console, "press", lambda self, buttons: press(self, buttons if self._game.__class__ is plain else 0)
    )
    console = Console((1, 1), plain=True)
    plain = console._game.__class__
    console.close()
    with pytest.raises(ValueError, match=r"plays another game from frame \d+ on, so it is removed"):
        compare()


@pytest.mark.rom
@first_generation
def test_a_foreign_file_in_its_place_is_named_with_the_remedy(place: Path) -> None:
    place.write_bytes(b"no library")
    _game_class.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"8\.2\.1\.so is no build of the emulator .*frmdn emulator --remove"):
            Console((1, 1))
        Console((1, 1), plain=True).close()
    finally:
        _game_class.cache_clear()


@pytest.mark.rom
@needs_pip
@first_generation
def test_no_source_ends_in_one_line(place: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    assert main(["emulator"]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "pip could not build nes-py" in told and "package index" in told and not place.exists()


def test_no_compiler_is_named(place: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(emulator, "COMPILER", "no-such-compiler")
    assert main(["emulator"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("frmdn: no-such-compiler is not installed") and captured.out == ""


@pytest.mark.parametrize(("version", "message"), [("9.0.1", "nes-py 9.0.1 has no second build"), (None, "frmdn.mario")])
def test_a_package_without_a_second_build_is_refused(version, message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "version", lambda: version)
    with pytest.raises(ValueError, match=message):
        emulator.build()
    assert emulator.hint() == ""


def test_a_run_hears_of_the_faster_build_where_it_is_missing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "COMPILER", Path(sys.executable).name)  # a program that is there
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert "run `frmdn emulator` once" in get_spec("SuperMarioBros-1-1-v0").hint
    place.touch()
    assert get_spec("SuperMarioBros-1-1-v0").hint == ""
    assert get_spec("CarRacing-v3").hint == ""


def test_it_can_be_removed(place: Path, capsys) -> None:
    place.touch()
    assert main(["emulator", "--remove", "--json"]) == 0 and not place.exists()
    assert json.loads(capsys.readouterr().out) == {"removed": str(place)}
    assert main(["emulator", "--remove"]) == 0
    assert "no second build to remove" in capsys.readouterr().out


def _calls_the_library() -> types.ModuleType:
    module = types.ModuleType("calls_the_library")
    program = """
class Base:
    def number(self, plus=1): return _LIB.number + plus
    def other(self): return 7
class Game(Base):
    def twice(self): return 2 * self.number()
"""
    module.__dict__["_LIB"] = types.SimpleNamespace(number=1)
    exec(program, module.__dict__)
    return module


def test_only_the_calls_of_the_library_go_elsewhere() -> None:
    module = _calls_the_library()
    library: ctypes.CDLL = types.SimpleNamespace(number=10)  # type: ignore[assignment]
    other = emulator.behind(module.Game, library)
    assert (other().number(), other().number(2), other().twice(), other().other()) == (11, 12, 22, 7)
    assert module.Game().twice() == 4 and issubclass(other, module.Game)


def test_a_game_that_hides_such_a_call_is_refused() -> None:
    module = _calls_the_library()
    module.Game.number = lambda self: 3
    with pytest.raises(ValueError, match=r"Game\.number hides a call"):
        emulator.behind(module.Game, types.SimpleNamespace(number=10))
