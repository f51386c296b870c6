"""Speech from a source-filter model: glottal pulses and noise through formants; the same clip for the same place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frmdn.agent.seeds import derive

from .audio import RATE, Clips

HOP, WINDOW, SPECTRUM = 128, 512, 1024  # samples: the filter changes every 8 ms, and has 32 ms to ring
SPEAKERS, SECONDS = 12, 3.0
FLOOR = 4.0  # standard deviation of the room's noise, in steps of 16 bits
# First four formants in Hz of an adult tract, near what phonetics books give; voices stretch them.
VOWELS = {
    "i": (300, 2300, 3000, 3700),
    "e": (530, 1850, 2500, 3600),
    "a": (730, 1100, 2450, 3500),
    "o": (570, 850, 2400, 3400),
    "u": (310, 870, 2250, 3300),
    "@": (500, 1500, 2500, 3500),
}
WIDTHS = (70.0, 90.0, 120.0, 180.0)  # bandwidths of the formants, Hz
FRICATIVES = {"s": (6200, 1800, 0.5), "sh": (3200, 1400, 0.6), "f": (4500, 6000, 0.12), "h": (1500, 3000, 0.15)}


@dataclass(frozen=True)
class Speaker:
    """What stays the same in a voice."""

    pitch: float  # Hz
    tract: float  # factor of all formants: a shorter tract has higher ones
    breath: float  # share of noise in voiced sounds
    open_phase: float  # of the glottal cycle
    loudness: float  # root mean square, in steps of 16 bits


def synthetic_speech(count: int = 240, seconds: float = SECONDS) -> Clips:
    """Clips of syllables by several speakers, made when they are asked for; clip i never depends on the others.

    Args:
        count: clips.
        seconds: length of each.
    """
    names = [f"speaker-{i % SPEAKERS:02d}/clip-{i:04d}" for i in range(count)]
    return Clips(names, lambda place: synthesise(place, seconds))


def speaker(number: int) -> Speaker:
    rng = np.random.default_rng(derive(0, "speaker", number))
    low = number % 2 == 0
    pitch = rng.uniform(90, 140) if low else rng.uniform(170, 240)
    tract = rng.uniform(0.92, 1.02) if low else rng.uniform(1.05, 1.18)
    return Speaker(pitch, tract, rng.uniform(0.01, 0.06), rng.uniform(0.5, 0.7), rng.uniform(1200, 2500))


def synthesise(place: int, seconds: float = SECONDS) -> np.ndarray:
    """One clip of 16 kHz mono, i16[seconds * 16000]."""
    rng = np.random.default_rng(derive(0, "clip", place))
    voice, size = speaker(place % SPEAKERS), round(seconds * RATE)
    frames = size // HOP + 1
    track = _score(rng, voice, frames)
    times = np.arange(size) / HOP
    voiced = _glottis(rng, voice, size) * np.interp(times, np.arange(frames), track["voicing"])
    white = rng.standard_normal(size)
    breath = voice.breath * white * np.interp(times, np.arange(frames), track["voicing"])
    hiss = white * np.interp(times, np.arange(frames), track["hiss"])
    sound = _filter(voiced + breath, _formants(track["formants"])) + _filter(hiss, _bands(track["band"]))
    loud = sound[np.abs(sound) > 0.05 * np.abs(sound).max()]
    sound = sound * (voice.loudness / np.sqrt(np.mean(loud**2))) + FLOOR * rng.standard_normal(size)
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


def _score(rng: np.random.Generator, voice: Speaker, frames: int) -> dict[str, np.ndarray]:
    """What the tract does at every frame of 8 ms: syllables of an optional fricative and a vowel, with pauses."""
    voicing, hiss = np.zeros(frames), np.zeros(frames)
    formants = np.tile(np.array(VOWELS["@"], float), (frames, 1))
    band = np.tile(np.array(FRICATIVES["h"][:2], float), (frames, 1))
    at = int(rng.integers(2, 20))
    while at < frames:
        if rng.random() < 0.5:
            name = list(FRICATIVES)[rng.integers(len(FRICATIVES))]
            stop = at + int(rng.integers(8, 18))
            band[at:stop], hiss[at:stop] = FRICATIVES[name][:2], FRICATIVES[name][2] * rng.uniform(0.6, 1.2)
            at = stop
        name = list(VOWELS)[rng.integers(len(VOWELS))]
        stop = at + int(rng.integers(10, 28))
        formants[at:stop] = np.array(VOWELS[name]) * rng.normal(1, 0.03, 4)
        voicing[at:stop] = rng.uniform(0.6, 1.0)
        at = stop + (int(rng.integers(5, 25)) if rng.random() < 0.3 else 0)
    return {
        "voicing": _smooth(voicing, 5),
        "hiss": _smooth(hiss, 5),
        "formants": _smooth(formants * voice.tract, 9),  # the tongue takes its time: neighbours colour each other
        "band": _smooth(band, 5),
    }


def _smooth(track: np.ndarray, width: int) -> np.ndarray:
    """A Hann-weighted moving average over `width` frames, along the first axis, the ends held."""
    kernel = np.hanning(width + 2)[1:-1]
    flat = track.reshape(len(track), -1)
    held = np.pad(flat, ((width // 2, width // 2), (0, 0)), "edge")
    smooth = [np.convolve(column, kernel / kernel.sum(), "valid") for column in held.T]
    return np.stack(smooth, 1).reshape(track.shape)


def _glottis(rng: np.random.Generator, voice: Speaker, size: int) -> np.ndarray:
    """Derivative of a glottal flow (t^2 - t^3 over the open phase: Rosenberg 1971), its pitch drifting and falling."""
    time = np.arange(size) / RATE
    knots = np.linspace(0, time[-1], 8)
    melody = np.interp(time, knots, rng.normal(0, 0.06, len(knots))) - 0.05 * time
    tremor = 0.01 * np.sin(2 * np.pi * 5.5 * time + rng.uniform(0, 2 * np.pi))
    phase = np.cumsum(voice.pitch * np.exp(melody + tremor) / RATE) % 1.0
    inside = phase / voice.open_phase
    return np.where(inside < 1, 2 * inside - 3 * inside**2, 0.0)


def _formants(tracks: np.ndarray) -> np.ndarray:
    """Cascade of second-order resonators of unit gain at 0 Hz, for formants f64[F,4]: c128[F,SPECTRUM/2+1]."""
    s = 2j * np.pi * np.fft.rfftfreq(SPECTRUM, 1 / RATE)
    response = np.ones((len(tracks), len(s)), complex)
    for centre, width in zip(tracks.T, WIDTHS, strict=True):
        pole = (2 * np.pi * centre[:, None]) ** 2
        response *= pole / (s**2 + 2 * np.pi * width * s + pole)
    return response


def _bands(tracks: np.ndarray) -> np.ndarray:
    """One resonator of unit gain at its centre, for (centre, width) f64[F,2]: c128[F,SPECTRUM/2+1]."""
    s = 2j * np.pi * np.fft.rfftfreq(SPECTRUM, 1 / RATE)
    centre, width = (2 * np.pi * column[:, None] for column in tracks.T)
    return np.asarray(width * s / (s**2 + width * s + centre**2))


def _filter(sound: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Filter f64[N] by a response that changes from frame to frame, by overlap and add of Hann-windowed pieces."""
    frames, half = len(response), WINDOW // 2
    long = np.pad(sound, (half, half + frames * HOP - len(sound)))
    pieces = np.lib.stride_tricks.sliding_window_view(long, WINDOW)[::HOP][:frames]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # sums to WINDOW / (2 HOP) at this hop
    wet = np.fft.irfft(np.fft.rfft(pieces * window, SPECTRUM) * response, SPECTRUM) * (2 * HOP / WINDOW)
    out = np.zeros(frames * HOP + SPECTRUM)
    for frame, piece in enumerate(wet):
        out[frame * HOP : frame * HOP + SPECTRUM] += piece
    return out[half : half + len(sound)]
