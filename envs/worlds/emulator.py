"""Super Mario's emulator compiled a second time, for speed: the same source, the same game, other compiler flags.

nes-py 8 is compiled as any Python extension: every function of the emulator can be replaced from outside, so the
compiler may not inline it, and each of its files is alone. Compiled as one program that keeps its functions to itself,
a frame takes some 0.57 ms in place of 0.96 (two cores of a server, g++ 12; `frmdn emulator` measures it). The second
build lies beside the first, in the package's own folder, and is used wherever it is there.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from types import FunctionType
from typing import Any

PACKAGE, MODULE = "nes-py", "nes_py"
COMPILER = "g++"
# One program (-flto), whose functions nobody replaces, and of which nearly all is inlined into the step of a frame.
FLAGS = (
    "-flto -fno-semantic-interposition -finline-limit=100000 --param inline-unit-growth=1000 "
    "--param large-function-growth=10000 --param max-inline-insns-auto=1000"
)
FUNCTIONS = (
    "Width", "Height", "Initialize", "Controller", "Screen", "Memory", "Reset", "Step", "Backup", "Restore", "Close",
)  # fmt: skip
PATIENCE = 900  # seconds for a build, which takes about half a minute


def version(package: str = PACKAGE) -> str | None:
    """Of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def second_build() -> Path | None:
    """Where the second build of the installed emulator is, or would be; None where no emulator can have one."""
    installed, found = version(), importlib.util.find_spec(MODULE)
    if installed is None or not installed.startswith("8.") or found is None or not found.origin:
        return None
    return Path(found.origin).parent / f"frmdn_nes_env-{installed}.so"


def built() -> Path | None:
    """The second build, where it is there."""
    path = second_build()
    return path if path is not None and path.exists() else None


def hint() -> str:
    """What to tell who plays without a second build where one can be made; else nothing."""
    able = second_build() is not None and sys.platform.startswith("linux") and shutil.which(COMPILER) is not None
    if built() is not None or not able:
        return ""
    return "Super Mario's emulator can be about 1.6 times as fast: run `frmdn emulator` once, and the next run uses it"


def load(first: ctypes.CDLL) -> ctypes.CDLL | None:
    """The second build with the signatures of the first, or None where there is none.

    Raises ValueError where it is there and cannot be loaded.
    """
    path = built()
    if path is None:
        return None
    try:
        library = ctypes.CDLL(str(path))
        for name in FUNCTIONS:
            ours, theirs = getattr(library, name), getattr(first, name)
            ours.argtypes, ours.restype = theirs.argtypes, theirs.restype
    except (OSError, AttributeError) as error:
        raise ValueError(
            f"{path} is no build of the emulator ({error}): run frmdn emulator again, or frmdn emulator --remove"
        ) from error
    return library


def behind(base: Any, library: ctypes.CDLL) -> Any:
    """A class as `base` whose methods call `library` where they call the package's own, `_LIB` of their module."""
    own: dict[str, FunctionType] = {}
    for kind in reversed(base.__mro__):
        for name, function in vars(kind).items():
            if name == "__init__":  # games have their own
                continue
            if name in own:
                raise ValueError(f"{kind.__name__}.{name} hides a call of the emulator: run frmdn emulator --remove")
            if isinstance(function, FunctionType) and "_LIB" in function.__code__.co_names:
                scope = {**function.__globals__, "_LIB": library}
                own[name] = FunctionType(function.__code__, scope, name, function.__defaults__, function.__closure__)
    return type(base.__name__, (base,), own)


def place() -> Path:
    """Where a second build is to go; ValueError, naming the remedy, where none can be made."""
    path = second_build()
    if path is None:
        have = version()
        raise ValueError(
            f"nes-py {have} has no second build: only nes-py 8 is made faster by one (Python 3.11 and 3.12)"
            if have
            else "nes-py is not installed, so there is no emulator to build: pip install 'frmdn[mario]'"
        )
    if shutil.which(COMPILER) is None:
        raise ValueError(f"{COMPILER} is not installed: the emulator is C++ (Debian: apt-get install {COMPILER})")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path.parent} cannot be written to: run frmdn emulator as the user who installed nes-py")
    return path


def build() -> Path:
    """Compile the installed nes-py once more, and put the library where `load` looks for it.

    Raises ValueError, naming the remedy, as `place` does, and where there is no source or no room.
    """
    path = place()
    with tempfile.TemporaryDirectory(prefix="frmdn-emulator-") as folder:
        wheel = _wheel(Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith(f"{MODULE}/lib_nes_env")]
            if len(names) != 1:
                raise ValueError(f"{wheel.name} holds {len(names)} emulators, not one: this release is not known here")
            content = archive.read(names[0])
    half = path.with_suffix(f".{os.getpid()}.half")
    try:
        half.write_bytes(content)
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise ValueError(f"{path} cannot be written ({error.strerror}): make room, or see who owns it") from error
    return path


def remove() -> Path | None:
    """Delete the second build, and say where it was; None where there is none."""
    path = built()
    if path is not None:
        path.unlink()
    return path


def _wheel(folder: Path) -> Path:
    """nes-py compiled with `FLAGS` by pip, which brings its source and what its set-up needs."""
    flags = {name: f"{os.environ.get(name, '')} {FLAGS}".strip() for name in ("CFLAGS", "CXXFLAGS")}
    # The linker compiles, with -flto: it needs to be told how. Python's own LDFLAGS are in front of these.
    environment = {**os.environ, **flags, "LDFLAGS": f"{os.environ.get('LDFLAGS', '')} -O3 {FLAGS}".strip()}
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--no-binary", PACKAGE]
    words += ["--disable-pip-version-check", "--wheel-dir", str(folder), f"{PACKAGE}=={version()}"]
    try:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"building nes-py took more than {PATIENCE} seconds: try when less is at work") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        told = [line for line in (done.stderr + done.stdout).splitlines() if "error" in line.lower()] or ["no reason"]
        raise ValueError(
            f"pip could not build nes-py ({told[0].strip()}): it needs {COMPILER} that knows -flto, pip in this "
            "environment, and the package index. The package's own build plays on, as before"
        )
    return wheels[0]
