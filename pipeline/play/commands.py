"""`frmdn play`."""

from __future__ import annotations

import argparse

from agent.seeds import episode_seeds

from ..session import open_session
from .game import dream_game, pace, real_game
from .loop import Sitting
from .window import Window


def run(options: argparse.Namespace) -> int:
    """Open a window on the run's dream or on its real environment, and let a person play until it is closed."""
    session = open_session(options.out)
    game = dream_game(session, options.temperature) if options.world == "dream" else real_game(session)
    try:
        if options.agent and not game.has_agent:
            raise ValueError(f"--agent needs an evolved one: run frmdn evolve --run {options.out} first")
        window = Window(f"{session.config.env}: {options.world}", options.scale)
        try:
            root, first = session.config.seed, options.seed
            sitting = Sitting(
                game,
                window,
                seed=lambda number: episode_seeds(root, "transfer", 1, first + number)[0],
                tell=session.progress.line,
                agent=options.agent,
            )
            sitting.play(options.fps or pace(session.spec))
        finally:
            window.close()
    finally:
        game.close()
    return 0
