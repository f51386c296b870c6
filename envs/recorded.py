"""What a run knows of a world that it has never played: recordings of it, and how they became frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from .spec import ActionCodec, EnvSpec

RECORDED = "recorded"  # in the place of a Gymnasium id: there is no environment


@dataclass(frozen=True)
class Recording:
    """Recordings that became the episodes of a run, in place of played ones.

    `action` has the kind and the size of the recorded actions; of a box without numbers (A = 0) nothing was recorded,
    and the memory dreams without actions.
    """

    kind: Literal["videos", "arrays", "minari", "lerobot"]
    source: str  # name of the file, the folder or the data set
    action: ActionCodec
    frame_size: int = 64  # S, pixels
    channels: int = 3
    fit: Literal["whole", "middle"] = "whole"  # a wide picture: all of it squeezed into the square, or its middle
    every: int = 1  # of so many recorded frames one is kept
    length: int = 1000  # most transitions of an episode; longer recordings are divided
    camera: str = ""  # which of several pictures, where a data set has them
    env: str = ""  # the environment whose frames they are, cut as its own; none: nothing is cut

    def __post_init__(self) -> None:
        for name in ("frame_size", "every", "length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def spec(self, max_steps: int | None = None) -> EnvSpec:
        """The recorded world: its frames and its actions, and nothing that could be played."""
        return EnvSpec(
            id=RECORDED,
            action=self.action,
            build=_not_built,
            frame_size=self.frame_size,
            channels=self.channels,
            max_steps=max_steps or self.length,
        )

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError unless an environment has the frames and the actions of these recordings."""
        frames = (self.frame_size, self.frame_size, self.channels)
        if spec.frame_shape != frames:
            raise ValueError(
                f"{spec.id} shows frames {list(spec.frame_shape)}, but the recordings have {list(frames)}: choose "
                "another --env, or import with the --size and the colours that it has"
            )
        theirs, ours = describe(spec.action), describe(self.action)
        if (spec.action.kind, spec.action.size) != (self.action.kind, self.action.size):
            raise ValueError(
                f"{spec.id} takes {theirs}, but the recordings have {ours}: choose another --env, or import again "
                f"with --env {spec.id}"
            )


def describe(action: ActionCodec) -> str:
    """The actions in words."""
    if not action.size:
        return "no actions"
    if action.kind == "discrete":
        return f"one of {action.n} actions"
    return f"actions of {action.size} number{'s' if action.size > 1 else ''}"


def _not_built(**_: Any) -> NoReturn:
    raise ValueError(
        "this run was imported, and has no environment to play: name one whose frames and actions match, with "
        "frmdn run --out DIR --env ID"
    )
