"""The settings of a study of state-space models: what stands in its config.json, and what each one means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from frmdn.agent.state_space import StateSpaceConfig

Variant = Literal["dvbf", "gaussian", "iaf-step", "iaf-trajectory"]
Observation = Literal["state", "pixels"]
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

    variant: Variant = "dvbf"
    env: Literal["Pendulum-v1"] = "Pendulum-v1"  # the only world that has states and pictures here
    observation: Observation = "state"  # state: (cos, sin, velocity / 8); pixels: 16 x 16 pictures
    train: int = 500  # trajectories
    validation: int = 128
    test: int = 128
    length: int = 50  # steps of a trajectory
    latent: int = 4
    matrices: int = 16  # of the locally linear transition
    hidden: int = 64  # width of the networks inside the walk through time
    width: int = 64  # width of the networks outside of it: emission, and recognition of the initial state
    lookahead: int = 0  # observations after the first one that the initial state is inferred from
    recognition: Literal["filter", "smooth"] = "filter"  # from what is seen at t, or from all seen from t on
    updates: int = 1000  # of the parameters
    batch: int = 50  # trajectories
    learning_rate: float = 8e-3  # falls to 0 as a cosine
    annealing: float = 0.1  # share of the updates over which a weight rises to 1
    annealed: Literal["kl", "likelihood"] = "kl"  # whose weight that is: the KL's, or the likelihood's
    clip: float = 5.0  # largest norm of the gradient

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test", "length", "updates", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.annealing <= 1:
            raise ValueError(f"annealing must be a share between 0 and 1, not {self.annealing}")
        if self.batch > self.train:
            raise ValueError(f"batch must be at most the {self.train} trajectories of train, not {self.batch}")
        if self.lookahead >= self.length:
            raise ValueError(f"lookahead must be below the length {self.length}, not {self.lookahead}")
        self.model()

    def model(self, observation: int = 3, control: int = 1) -> StateSpaceConfig:
        """The model for observations and controls of so many numbers; ValueError names a setting out of range."""
        from frmdn.agent.state_space import StateSpaceConfig

        names = ("variant", "latent", "matrices", "hidden", "width", "lookahead", "recognition")
        return StateSpaceConfig(
            observation=observation,
            control=control,
            shared_scale=self.observation == "pixels",
            steps=self.length,
            **{name: getattr(self, name) for name in names},
        )


def defaults(variant: Variant, observation: Observation) -> StateSpaceSettings:
    """The settings behind the figures in docs/notes/state-space.md."""
    settings = StateSpaceSettings(variant=variant, observation=observation)
    if observation == "pixels":  # one picture does not show the velocity: the initial state sees five
        sizes = replace(settings, length=15, latent=3, width=128, lookahead=4, updates=2000)
        return replace(sizes, annealing=0.5, annealed="likelihood")
    return settings
