"""`frmdn statespace`: its arguments, and the study behind it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from ..statespace.settings import Observation, Variant
from .options import add_command, add_device, add_json, add_set, whole

EPILOG = """variants:
  dvbf            locally linear transitions; Gaussian recognition of the noise (Karl et al. 2017)
  gaussian        Gaussian transitions, one network for mean and scale: the plain baseline
  iaf-step        dvbf, with an inverse autoregressive flow on fresh noise inside each transition
  iaf-trajectory  dvbf, with an inverse autoregressive flow over the noise of the whole trajectory

examples:
  frmdn statespace --variant dvbf --seeds 5 --out runs/dvbf --json
  frmdn statespace --variant iaf-step --observation pixels --seeds 5 --out runs/iaf-pixels
  frmdn statespace --variant dvbf --seeds 1 --control --out runs/dvbf       then a controller, evolved in its dream
  frmdn statespace --variant dvbf --seeds 1 --out /tmp/try --set updates=200 --set train=100

It collects trajectories of Pendulum-v1 under Ornstein-Uhlenbeck torques, trains one model a seed, and measures on
test trajectories what it generates from the first observation and the controls alone: with all noise at its centre
(generation_mae) and with noise drawn (generation_mae_sampled). The folder gets config.json, result.json,
training.png and one folder a seed with weights, history and plots. Kill it anywhere and call it again: it goes on.
The densities' nats may be below or above 0; the KL may not, in expectation.
docs/explanation/state-space.md derives the bounds.
"""


def add_statespace(commands: Any) -> None:
    help = "train latent state-space models on the pendulum, and measure what they generate"
    command = add_command(commands, "statespace", help, EPILOG, run)
    command.add_argument("--variant", choices=get_args(Variant), default="dvbf", help="which model (default: dvbf)")
    command.add_argument("--env", default="Pendulum-v1", metavar="ID", help="the environment (default: Pendulum-v1)")
    command.add_argument(
        "--observation",
        choices=get_args(Observation),
        default="state",
        help="vectors or 16 x 16 pictures (default: state)",
    )
    command.add_argument("--seeds", type=whole, default=5, metavar="N", help="seeds 0 to N-1 (default: 5)")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder; made if it is not there")
    add_set(command, "KEY=VALUE", "change one setting of config.json; may be repeated")
    command.add_argument(
        "--control", action="store_true", help="evolve a small controller in the dream of seed 0, and play it for real"
    )
    add_device(command)
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Train, measure and plot what is missing in the folder; print the figures of all seeds."""
    from ..statespace.study import statespace

    return statespace(options)
