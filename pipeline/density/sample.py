"""Draw from a trained density model: sound, pictures, points, or an episode dreamed on."""

from __future__ import annotations

import argparse
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frmdn.agent.device import AUTO, choose_device
from frmdn.agent.seeds import derive, generator
from frmdn.rollouts.sources import Source, whole_batches

from ..files import write_bytes
from ..progress import Progress
from ..strokes.model import StrokeModel
from .data import Data, open_source
from .model import NextStep
from .run import open_run

SUFFIX = {"speech": ".wav"}  # all else: .png
WARM, SHOWN = 20, 8  # steps of the recorded episode that a dream starts from, instants on its picture


@dataclass(frozen=True)
class Draw:
    """How to draw: temperature above 0 (1: as learnt) and the seed of the noise."""

    temperature: float = 1.0
    seed: int = 0

    def generator(self, *names: str | int) -> torch.Generator:
        return generator(self.seed, "sample", *names)


@torch.no_grad()
def generate(model: NextStep, count: int, steps: int, draw: Draw) -> Tensor:
    """Sequences f32[count,steps,D] that a model of p(target | targets before) makes up, each fed its own past."""
    model.eval()
    device = next(model.parameters()).device
    noise, state, made = draw.generator("generate"), None, []
    context = torch.zeros(count, 1, model.config.inputs, device=device)
    for _ in range(steps):
        distribution, state = model.density(context, state)
        context = distribution.sample(temperature=draw.temperature, generator=noise)
        made.append(context.cpu())
    return torch.cat(made, 1)


@torch.no_grad()
def dream(model: NextStep, context: Tensor, warm: int, draw: Draw) -> Tensor:
    """Latents f32[T,Z] after contexts f32[T,Z+A] of an episode: `warm` steps on its own latents, then on ours."""
    model.eval()
    context = context.to(next(model.parameters()).device)
    noise, latent, made = draw.generator("dream"), model.config.outputs, []
    z, state = context[0, :latent], None
    for t in range(len(context)):
        now = context[t].clone()
        if t >= warm:
            now[:latent] = z
        distribution, state = model.density(now[None, None], state)
        z = distribution.sample(temperature=draw.temperature, generator=noise)[0, 0]
        made.append(z)
    return torch.stack(made).cpu()


def write_sample(options: argparse.Namespace) -> str:
    """Carry out `frmdn density sample`; returns one line for people."""
    settings, model = open_run(options.run)
    data = Data.of_settings(settings["data"])
    if isinstance(model, StrokeModel):
        from ..strokes.sample import write_strokes

        if options.device not in (AUTO, "cpu"):
            raise ValueError(f"--device {options.device}: drawings are sampled on the CPU: leave it out")
        return write_strokes(options, open_source(data), model)
    _refuse_strokes(options, data)
    model = model.to(choose_device(options.device, Progress().line))
    draw = Draw(options.temperature[0], options.seed)
    if data.columns is not None:
        from .continued import write_continued

        return write_continued(options, open_source(data), model, draw.generator("continue"))
    suffix = SUFFIX.get(data.name, ".png")
    if options.out.suffix.lower() != suffix:
        raise ValueError(f"--out {options.out} must end with {suffix}: that is what {data.name} gives")
    if data.name == "speech":
        return _write_speech(options.out, settings, model, options.seconds, draw)
    source = open_source(data)
    picture = {"inverse-sine": _density, "images": _pictures}.get(data.name, _dream)
    write_bytes(options.out, picture(source, model, data, options.count, draw))
    return f"wrote {options.out}"


def _refuse_strokes(options: argparse.Namespace, data: Data) -> None:
    """ValueError for what has a meaning for drawings alone."""
    for name in ("text", "prime", "between", "bias", "animate"):
        if getattr(options, name):
            raise ValueError(f"--{name} is for drawings, and this run is of {data.name}: leave it out")
    if len(options.temperature) > 1:
        raise ValueError(f"several temperatures are for drawings, and this run is of {data.name}: give one")


def _write_speech(path: Path, settings: dict[str, Any], model: NextStep, seconds: float, draw: Draw) -> str:
    from frmdn.rollouts.sources.speech import SpeechScale

    scale = SpeechScale(**settings["scale"])
    frames = max(1, round(seconds * scale.rate / model.config.outputs))
    (sound,) = scale.native(generate(model, 1, frames, draw))
    write_wav(path, sound, scale.rate)
    return f"wrote {path}: {len(sound) / scale.rate:.2f} s at {scale.rate} Hz"


def write_wav(path: Path, sound: np.ndarray, rate: int) -> None:
    """Mono 16-bit PCM of samples i16[N]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sound.astype("<i2").tobytes())


def real_sequences(source: Source, count: int) -> Tensor:
    """The first `count` whole test sequences of a source whose sequences have one length, f32[count,T,D]."""
    batch = next(whole_batches(source, "test", derive(0, "show")))
    return batch.target[:count]


def _density(source: Source, model: NextStep, data: Data, count: int, draw: Draw) -> bytes:
    from ..drawing.figures import to_png
    from .pictures import toy_densities

    return to_png(toy_densities(source, {model.config.model: model}))


def _pictures(source: Source, model: NextStep, data: Data, count: int, draw: Draw) -> bytes:
    from ..drawing.figures import picture_rows, to_png

    real = real_sequences(source, count)
    made = generate(model, len(real), real.shape[1], draw)
    return to_png(picture_rows([("real", source.scale.native(real)), ("sampled", source.scale.native(made))]))


def _dream(source: Source, model: NextStep, data: Data, count: int, draw: Draw) -> bytes:
    """Frames decoded by the run's own vision: as recorded above, dreamed with the same actions below."""
    from ..drawing.figures import picture_rows, to_png
    from ..session import open_session

    run = Path(str(data.path))
    vision = open_session(run.parent if run.name == "latents" else run).vision()
    batch = next(whole_batches(source, "test", derive(0, "show")))
    steps = int(batch.mask[0].sum())
    if steps <= WARM:
        raise ValueError(f"the test episode has only {steps} steps: a dream needs more than {WARM}")
    dreamed = dream(model, batch.context[0, :steps], WARM, draw)
    chosen = np.unique(np.linspace(WARM, steps - 1, SHOWN).round().astype(int))
    with torch.no_grad():
        rows = [
            (name, (vision.decode(z[chosen]).clamp(0, 1) * 255).round().to(torch.uint8).numpy())
            for name, z in (("recorded", batch.target[0]), ("dreamed", dreamed))
        ]
    return to_png(picture_rows(rows))
