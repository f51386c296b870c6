"""Raw speech as sequences of 200-sample frames: the protocol of the recurrent density models of waveforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .audio import RATE, Clips, audio_folder
from .sequences import TEST, TRAIN, VALIDATION, Source, Steps, shifted, split_names
from .synthesis import synthetic_speech

FRAME = 200  # samples, 12.5 ms
SEGMENT = 40  # frames of the "40-frames" protocol
Protocol = Literal["40-frames", "whole-utterance"]
FOLDERS = {"train": TRAIN, "test": TEST, "valid": VALIDATION, "validation": VALIDATION, "dev": VALIDATION}


@dataclass(frozen=True)
class SpeechScale:
    """x = (v + u - mean) / std, with v a 16-bit sample and u ~ U(-1/2, 1/2)."""

    mean: float
    std: float
    rate: int = RATE

    def native(self, target: Tensor) -> np.ndarray:
        """Frames [N,T,200] -> waveforms i16[N,T*200]."""
        wave = np.asarray(target.detach().cpu().double()).reshape(len(target), -1) * self.std + self.mean
        return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)


class Utterances:
    """A split of clips: each a sequence of frames, or cut into segments of `frames` frames. Remainders are dropped."""

    def __init__(self, clips: Clips, places: Sequence[int], sizes: Mapping[int, int], frames: int | None) -> None:
        self.clips = clips
        self.pieces: list[tuple[int, int, int]] = []  # clip, first sample, frames
        for place in places:
            whole = sizes[place] // FRAME
            step = frames or max(whole, 1)
            self.pieces += [(place, start * FRAME, step) for start in range(0, whole - step + 1, step)]
        self.lengths: Sequence[int] = [piece[2] for piece in self.pieces]

    def rows(self, index: int, start: int, stop: int) -> Tensor:
        place, first, _ = self.pieces[index]
        samples = self.clips[place][first + start * FRAME : first + stop * FRAME]
        return torch.from_numpy(samples.astype(np.float32)).reshape(-1, FRAME)


def speech(
    path: Path | str | None = None,
    protocol: Protocol = "40-frames",
    *,
    clips: Clips | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """p(frame | frames before) of raw 16 kHz speech in frames of 200 samples, without overlap.

    One mean and one standard deviation, of the training split, normalise everything. The 16-bit samples are
    dequantised uniformly, anew at every visit: densities of integers are unbounded. Figures are nats per normalised
    sample; in 40-frame segments also per sequence (8,000 samples), as papers print them with the opposite sign; and
    bits per 16-bit sample. Files are held out whole. Folders named train and test (TIMIT's) keep their roles.

    Args:
        path: a folder of WAV, FLAC, MP3 or SPHERE files, at any depth; None: the built-in synthesiser.
        protocol: "40-frames": segments of half a second (Blizzard); "whole-utterance": each file one sequence (TIMIT).
        clips: other clips than those of `path`.
        progress: called with (clips read, clips in all): everything is read once, to measure and to check it.

    Raises:
        ValueError: there is no audio, too little of it, or a file is damaged; the message names it.
        MissingExtra: files are to be read, but soundfile is not installed.
    """
    if protocol not in ("40-frames", "whole-utterance"):
        raise ValueError(f'protocol must be "40-frames" or "whole-utterance", not {protocol!r}')
    if clips is None:
        clips = synthetic_speech() if path is None else audio_folder(Path(path))
    places = _split(clips.names)
    sizes, scale = _measure(clips, places[TRAIN], progress)
    frames = SEGMENT if protocol == "40-frames" else None
    splits = {name: Utterances(clips, chosen, sizes, frames) for name, chosen in places.items()}
    empty = [name for name, split in splits.items() if not split.pieces]
    if empty:
        raise ValueError(f"the {empty[0]} split has no clip of {frames or 1} frames ({FRAME} samples each): add files")
    seconds = {name: round(sum(split.lengths) * FRAME / RATE, 1) for name, split in splits.items()}
    return Source(
        name="speech",
        inputs=FRAME,
        outputs=FRAME,
        unit="nats per normalised sample",
        splits=splits,
        prepare=partial(_prepare, scale),
        scale=scale,
        batch=32 if frames else 8,
        about={
            "clips": len(clips),
            "seconds": seconds,
            "protocol": protocol,
            "path": Path(path).name if path else "built in",
        },
        figures=partial(_figures, scale, frames),
    )


def _figures(scale: SpeechScale, frames: int | None, nll: float) -> dict[str, float]:
    figures = {"bits_per_sample": (nll + math.log(scale.std)) / math.log(2)}
    return figures | ({"log_likelihood_per_sequence": -nll * FRAME * frames} if frames else {})


def _split(names: Sequence[str]) -> dict[str, list[int]]:
    """By the corpus' own folders where it has them, by a hash of the file's name otherwise."""
    roles = [FOLDERS.get(name.split("/")[0].lower()) for name in names]
    parts = {role: [i for i, r in enumerate(roles) if r == role] for role in (TRAIN, VALIDATION, TEST)}
    if None in roles or not parts[TRAIN] or not parts[TEST]:
        return split_names(names)
    if not parts[VALIDATION]:
        inner = split_names([names[i] for i in parts[TRAIN]])
        chosen = {parts[TRAIN][i] for i in inner[VALIDATION]}
        parts[VALIDATION], parts[TRAIN] = sorted(chosen), [i for i in parts[TRAIN] if i not in chosen]
    return parts


def _measure(
    clips: Clips, training: Sequence[int], progress: Callable[[int, int], None] | None
) -> tuple[dict[int, int], SpeechScale]:
    """Samples of every clip, and mean and deviation over those of the training split."""
    sizes, chosen = {}, set(training)
    count, total, square = 0, 0.0, 0.0
    for place in range(len(clips)):
        samples = clips[place]
        sizes[place] = len(samples)
        if place in chosen:
            exact = samples.astype(np.float64)
            count, total, square = count + len(exact), total + exact.sum(), square + (exact**2).sum()
        if progress is not None:
            progress(place + 1, len(clips))
    mean = total / max(count, 1)
    variance = square / max(count, 1) - mean**2
    if variance <= 0:
        raise ValueError("the training clips are silent: there is nothing to model")
    return sizes, SpeechScale(float(mean), float(math.sqrt(variance + 1 / 12)))


def _prepare(scale: SpeechScale, raw: Tensor, mask: Tensor, noise: torch.Generator) -> Steps:
    target = (raw + torch.rand(raw.shape, generator=noise) - (0.5 + scale.mean)) / scale.std
    target = target * mask.unsqueeze(-1)
    return Steps(shifted(target), target, mask, torch.zeros(mask.shape))
