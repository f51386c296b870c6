"""The settings of a study of state-space models: what stands in its config.json, and what each one means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

MEANING = {
    "generation_mae": "noise at its centre: that of q(z_0 | x_0) to begin with, and every transition at its mean",
    "generation_mae_sampled": "noise drawn: z_0 from q(z_0 | x_0), every transition from the prior",
    "reconstruction_mae": "states at the centre of the posterior",
    "kl": "nats per trajectory, posterior against prior; bound = reconstruction - kl, in nats per trajectory",
    "seconds": "of training, as a clock on the wall counts; cpu_seconds those that the one core worked for it",
    "r2": "least squares from states at the posterior's centre, fitted on training and scored on test trajectories",
}


@dataclass(frozen=True)
class StateSpaceSettings:
    """All that the results depend on besides the seed; it is stored in the folder and never mixed."""

    variant: str = "dvbf"
    env: str = "Pendulum-v1"
    observation: str = "state"  # state: (cos, sin, velocity / 8); pixels: 16 x 16 pictures
    train: int = 500  # trajectories
    validation: int = 128
    test: int = 128
    length: int = 50  # steps of a trajectory
    latent: int = 4
    matrices: int = 16  # of the locally linear transition
    hidden: int = 64  # width of the networks inside the walk through time
    width: int = 64  # width of the networks outside of it: emission, and recognition of the initial state
    lookahead: int = 0  # observations after the first one that the initial state is inferred from
    recognition: str = "filter"  # from what is seen at t, or "smooth" from all that is seen from t on
    updates: int = 1000  # of the parameters
    batch: int = 50  # trajectories
    learning_rate: float = 8e-3  # falls to 0 as a cosine
    annealing: float = 0.1  # share of the updates over which a weight rises to 1
    annealed: str = "kl"  # whose weight that is: the KL's, or the likelihood's
    clip: float = 5.0  # largest norm of the gradient

    def __post_init__(self) -> None:
        from frmdn.agent.state_space import StateSpaceConfig

        if self.env != "Pendulum-v1":
            raise ValueError(
                f"env must be Pendulum-v1, the only world that has states and pictures here, not {self.env!r}"
            )
        if self.observation not in ("state", "pixels"):
            raise ValueError(f"observation must be state or pixels, not {self.observation!r}")
        for name in ("train", "validation", "test", "length", "updates", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.annealed not in ("kl", "likelihood"):
            raise ValueError(f"annealed must be kl or likelihood, not {self.annealed!r}")
        if not 0 <= self.annealing <= 1:
            raise ValueError(f"annealing must be a share between 0 and 1, not {self.annealing}")
        if self.batch > self.train:
            raise ValueError(f"batch must be at most the {self.train} trajectories of train, not {self.batch}")
        if self.lookahead >= self.length:
            raise ValueError(f"lookahead must be below the length {self.length}, not {self.lookahead}")
        StateSpaceConfig(
            variant=self.variant,  # type: ignore[arg-type]
            latent=self.latent,
            matrices=self.matrices,
            hidden=self.hidden,
            width=self.width,
            lookahead=self.lookahead,
            recognition=self.recognition,  # type: ignore[arg-type]
        )


def defaults(variant: str, observation: str) -> StateSpaceSettings:
    """The settings behind the figures in docs/notes/state-space.md."""
    settings = StateSpaceSettings(variant=variant, observation=observation)
    if observation == "pixels":  # one picture does not show the velocity: the initial state sees five
        sizes = replace(settings, length=15, latent=3, width=128, lookahead=4, updates=2000)
        return replace(sizes, annealing=0.5, annealed="likelihood")
    return settings


def override(settings: StateSpaceSettings, given: Mapping[str, Any], assignments: Sequence[str]) -> StateSpaceSettings:
    """The settings with `KEY=VALUE` words applied; ValueError names an unknown key or a wrong value."""
    values = dict(given)
    known = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    for word in assignments:
        key, equals, text = word.partition("=")
        if not equals or key not in known:
            raise ValueError(f"--set {word!r} must be KEY=VALUE with a key of: {', '.join(known)}")
        try:
            values[key] = known[key](text)
        except ValueError:
            raise ValueError(f"--set {key} needs a value of type {known[key].__name__}, not {text!r}") from None
    return replace(settings, **values)
