"""World-model agents: a vision sees, a memory expects, a controller acts; and the densities behind them.

What stands here is the public interface. Names are imported when they are first used, so `import frmdn` is light.
"""

from __future__ import annotations

from pathlib import Path

_here = Path(__file__).resolve().parent
if not (_here / "agent").is_dir():  # a source checkout: its folders stand beside this one, not in it
    __path__.append(str(_here.parent))
