"""Audio files as 16 kHz mono int16: WAV, FLAC, MP3 and NIST SPHERE through libsndfile."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frmdn.agent.errors import MissingExtra, first_line

RATE = 16_000
SUFFIXES = (".wav", ".flac", ".mp3", ".sph", ".nist")
RATES = (1_000, 768_000)  # Hz that sound is recorded at; a forged one would swell a small file beyond all memory
MOST = 1 << 28  # samples of a file, of all its channels: 46 minutes of 48 kHz stereo are half of it
BLOCK = 1 << 18  # samples read at once: what a header promises is not reserved before it is there
UNKNOWN = 0x7FFF0000  # a WAV length from here up means "not known": what writers put who cannot go back to fix it
REMEDY = "copy it once more from where it came, or take it out of the folder"


def audio_paths(folder: Path) -> list[Path]:
    """The audio files under a folder, at any depth, sorted by their relative names; ValueError where there is none."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give --path a folder with {', '.join(SUFFIXES)} files")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not found:
        raise ValueError(f"{folder} has no audio: put {', '.join(SUFFIXES)} files there")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_audio(path: Path) -> np.ndarray:
    """One file as i16[N]: channels averaged, resampled to 16 kHz, rounded to 16 bits.

    A 16-bit mono file of 16 kHz comes back as it is, sample by sample.

    Raises:
        ValueError: the file is foreign, damaged or cut short; the message names it.
        MissingExtra: soundfile is not installed.
    """
    sound = _soundfile()
    try:
        _check_whole(path)
        with sound.SoundFile(path) as file:
            promised, rate, exact = file.frames, file.samplerate, file.subtype == "PCM_16"
            least = promised * (0.99 if file.format == "MP3" else 1)  # an MP3 may only know its length roughly
            _check_plausible(path, rate, file.channels)
            samples = _read_all(path, file, "int16" if exact else "float64")
    except (sound.LibsndfileError, OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as audio ({first_line(error)}): {REMEDY}") from None
    if len(samples) < least or not len(samples):
        raise ValueError(f"{path} is cut short: {len(samples)} of {promised} samples: {REMEDY}")
    if exact and rate == RATE and samples.shape[1] == 1:
        return np.asarray(samples[:, 0])
    mono = samples.mean(1) / (1.0 if exact else 1 / 32768)
    return np.clip(np.rint(resample(mono, rate, RATE)), -32768, 32767).astype(np.int16)


def _check_plausible(path: Path, rate: int, channels: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"{path} claims {rate} samples a second, not {RATES[0]} to {RATES[1]}: {REMEDY}")
    if channels > 64:
        raise ValueError(f"{path} claims {channels} channels: {REMEDY}")


def _read_all(path: Path, file: Any, dtype: str) -> np.ndarray:
    """All samples [N,C] that are there, block by block."""
    blocks, count = [np.empty((0, file.channels), dtype)], 0
    while True:
        block = file.read(max(1, BLOCK // file.channels), dtype=dtype, always_2d=True)
        if not len(block):
            return np.concatenate(blocks)
        blocks.append(block)
        count += block.size
        if count > MOST:
            raise ValueError(f"{path} has more than {MOST} samples: cut it into shorter files")


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Band-limited resampling f64[N] -> f64[round(N wanted / rate)] by cutting or extending the spectrum.

    The ends are mirrored first, since the spectrum takes the signal for a periodic one.
    """
    if rate == wanted:
        return samples
    common = math.gcd(rate, wanted)
    old, new = rate // common, wanted // common  # samples in the shortest time that holds whole numbers of both
    edge = old * -(-rate // (20 * old))  # 50 ms or a little more
    fill = -len(samples) % old
    long = np.pad(samples, (edge, edge + fill), "reflect", reflect_type="odd")
    count = len(long) // old * new
    spectrum = np.fft.rfft(long)
    kept = np.zeros(count // 2 + 1, complex)
    shared = min(len(spectrum), len(kept))
    kept[:shared] = spectrum[:shared]
    start = edge // old * new
    return np.fft.irfft(kept, count)[start : start + round(len(samples) * wanted / rate)] * (count / len(long))


class Clips:
    """Audio clips by place, decoded on demand; what fits in `memory` bytes is kept.

    Args:
        names: one per clip, for the split and for messages.
        read: place -> i16[N].
        memory: bytes of decoded audio to keep.
    """

    def __init__(self, names: Sequence[str], read: Callable[[int], np.ndarray], memory: int = 2_000_000_000) -> None:
        self.names, self._read, self._free = list(names), read, memory
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: int) -> np.ndarray:
        if place in self._kept:
            return self._kept[place]
        samples = self._read(place)
        if samples.nbytes <= self._free:
            self._kept[place] = samples
            self._free -= samples.nbytes
        return samples


def audio_folder(folder: Path) -> Clips:
    """The audio files under a folder."""
    paths = audio_paths(folder)
    _soundfile()
    return Clips([path.relative_to(folder).as_posix() for path in paths], lambda place: read_audio(paths[place]))


def _check_whole(path: Path) -> None:
    """libsndfile reads what is left of a cut WAV or SPHERE file without a word; their headers tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            _check_wav(path, file, size)
        elif head[:7] == b"NIST_1A":
            _check_sphere(path, head, size)


def _check_wav(path: Path, file: Any, size: int) -> None:
    place = 12
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"data":
            if length < UNKNOWN and place + 8 + length > size:
                raise ValueError(f"{path} is cut short: {size - place - 8} of {length} bytes of audio: {REMEDY}")
            return
        place += 8 + length + length % 2
    raise ValueError(f"{path} is cut short: it ends before its audio: {REMEDY}")


def _check_sphere(path: Path, head: bytes, size: int) -> None:
    fields: dict[str, str] = {}
    lines = head.decode("latin-1").split("\n")
    for line in lines[2:]:
        if line.strip() == "end_head":
            break
        key, _, value = line.partition(" ")
        fields[key] = value.rpartition(" ")[2]
    coding, first = fields.get("sample_coding", "pcm"), lines[1].strip() if len(lines) > 1 else ""
    if "shorten" in coding or "shortpack" in coding:
        raise ValueError(f"{path} is a compressed SPHERE file ({coding}): unpack it with w_decode or sph2pipe first")
    numbers = [first, *(fields.get(name, "") for name in ("sample_count", "channel_count", "sample_n_bytes"))]
    numbers[2:] = [number or usual for number, usual in zip(numbers[2:], ("1", "2"), strict=True)]
    if not all(number.isdecimal() and len(number) < 16 for number in numbers):
        raise ValueError(f"{path} has a damaged SPHERE header: {REMEDY}")
    begin, count, channels, width = map(int, numbers)
    wanted, found = count * channels * width, size - begin
    if found < wanted:
        raise ValueError(f"{path} is cut short: {max(found, 0)} of {wanted} bytes of audio: {REMEDY}")


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package is there, its library is not
        raise MissingExtra("soundfile", "speech", "reading audio files") from None
    return soundfile
