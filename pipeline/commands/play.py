"""`frmdn play`: its arguments, and a person at the keyboard."""

from __future__ import annotations

import argparse
from typing import Any

from ..progress import Progress
from .options import add_agent, add_command, add_device, natural, positive, whole

EPILOG = """keys:
  R      begins a new episode        SPACE  pauses
  A      hands the wheel to the agent, and back: its memory has seen what you did
  ESC    quits

  one number, e.g. Doom's             left and right
  CarRacing                           left and right steer, up is gas, down is the brake
  other boxes                         left/right, down/up, j/l, k/i for the numbers with two signs;
                                      up, down, x, z, as far as they are free, for those from 0 up
  Super Mario                         arrows, x is A (jump), z is B (run)
  other discrete actions              0 to 9 and the row of letters below by their number; 0 where no key is held

The window shows the steps, the reward so far and, in a dream, the chance of the end that the memory sees. Dreams begin
as real episodes did, with an empty memory, and have the rewards and ends that the run's own dreams have. Reality shows
its own picture beside the frame that the agent sees. Of a run in rounds, the agent that counts plays.

examples:
  frmdn play --run runs/car                                    drive in the dream of CarRacing
  frmdn play --run runs/car --temperature 0.5                  in a tamer one
  frmdn play --run runs/car --in reality --seed 3              on a real track, for comparison
  frmdn play --run runs/doom --agent                           watch the agent in its dream; A takes the wheel
  frmdn play car.safetensors --agent                           the same of an agent file
"""


def add_play(commands: Any) -> None:
    help = "play the world of an agent with the keyboard, in its dream or for real"
    command = add_command(commands, "play", help, EPILOG, run)
    add_agent(command)
    command.add_argument(
        "--in", choices=("dream", "reality"), default="dream", dest="world", help="where to play (default: dream)"
    )
    command.add_argument("--temperature", type=positive, default=1.0, metavar="T", help="of the dream (default: 1)")
    command.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="number of the first episode (default: 0)"
    )
    command.add_argument(
        "--scale", type=whole, default=8, metavar="S", help="pictures are 64 S pixels high (default: 8)"
    )
    command.add_argument("--fps", type=positive, metavar="F", help="transitions a second (default: the world's own)")
    command.add_argument("--agent", action="store_true", help="the agent drives at first")
    add_device(command)


def run(options: argparse.Namespace) -> int:
    """Open a window on the agent's dream or on its real environment, and let a person play until it is closed."""
    from frmdn.agent.seeds import episode_seeds

    from ..play.game import dream_game, pace, real_game
    from ..play.loop import Sitting
    from ..play.window import Window
    from ..trained.find import find
    from .settle import ready

    trained = find(options.out, ready(options, Progress().line), options.imports)
    game = dream_game(trained, options.temperature) if options.world == "dream" else real_game(trained)
    try:
        if options.agent and not game.has_agent:
            raise ValueError(f"--agent needs an evolved one: run frmdn evolve --run {options.out} first")
        window = Window(f"{trained.official.id}: {options.world}", options.scale)
        try:
            root, first = trained.root_seed, options.seed
            sitting = Sitting(
                game,
                window,
                seed=lambda number: episode_seeds(root, "transfer", 1, first + number)[0],
                tell=Progress().line,
                agent=options.agent,
            )
            sitting.play(options.fps or pace(trained.official))
        finally:
            window.close()
    finally:
        game.close()
    return 0
