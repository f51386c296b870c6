"""The lock on systems without fcntl, and what is read there without it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

# What Windows has in the place of fcntl, on the locks of this system: of one process, not of one handle.
WINDOWS = """
import sys, types
import fcntl as real
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.LK_UNLCK = 2, 0
def locking(handle, mode, count):
    kind = real.LOCK_EX if real.fcntl(handle, real.F_GETFL) & 3 else real.LOCK_SH  # of a handle for reading
    real.lockf(handle, kind | real.LOCK_NB if mode == msvcrt.LK_NBLCK else real.LOCK_UN, count, 0, 1)
msvcrt.locking = locking
sys.modules["fcntl"], sys.modules["msvcrt"] = None, msvcrt
"""
HOLD = "from pathlib import Path; from frmdn.pipeline.lock import locked, owner\nfolder = Path(sys.argv[1])\n"


def python(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=200)


def test_the_lock_of_windows_keeps_another_process_out(tmp_path: Path) -> None:
    hold = WINDOWS + HOLD + "with locked(folder): print('in', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        asked = python(WINDOWS + HOLD + "print(owner(folder))\nwith locked(folder): pass", str(tmp_path))
        assert asked.stdout == f"{other.pid}\n" and f"in use by process {other.pid}" in asked.stderr
        other.kill()
        other.wait()
    free = python(WINDOWS + HOLD + "print(owner(folder))\nwith locked(folder): print('in')", str(tmp_path))
    assert free.stdout == "None\nin\n", free.stderr


def test_where_nothing_can_be_locked_that_is_said_and_reading_works(tmp_path: Path) -> None:
    program = "import sys; sys.modules['fcntl'] = None\n" + HOLD + "print(owner(folder))\nwith locked(folder): pass"
    done = python(program, str(tmp_path))
    assert done.stdout == "None\n" and "this Python can lock no file" in done.stderr


def test_reading_a_run_and_using_densities_needs_nothing_of_unix(finished: Path) -> None:
    """No module of ours asks for what Windows or macOS lack, at import or when a run is read."""
    program = """
    import builtins, os, sys
    real, lacking = builtins.__import__, {"fcntl", "resource", "termios", "pwd", "grp", "pty", "tty", "syslog"}
    def guarded(name, *more, **named):
        caller = (more[0] if more else named.get("globals")) or {}
        if name in lacking and str(caller.get("__name__")).startswith("frmdn"):
            raise ImportError(name)
        return real(name, *more, **named)
    builtins.__import__ = guarded
    for name in ("sched_getaffinity", "O_NOFOLLOW", "geteuid", "fork"):
        delattr(os, name)
    import torch, frmdn
    run = frmdn.open(sys.argv[1])
    assert len(run.history) == 2 and run.evaluation["episodes"] == 2 and {s.state for s in run.status()} == {"done"}
    assert run.episodes().read(0).steps == 10 and run.latents().read(0).mean.shape[1] == 32
    density = frmdn.frmdn(inputs=3, outputs=2)
    distribution, _ = density(torch.zeros(1, 4, 3))
    assert distribution.log_prob(torch.zeros(1, 4, 2)).shape == (1, 4)
    from frmdn.pipeline import lock
    assert lock.fcntl is None
    print("read")
    """
    done = python(textwrap.dedent(program), str(finished))
    assert done.stdout == "read\n", done.stderr
