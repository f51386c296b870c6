"""Audio files of our own making, in every format, read back; damaged ones are named."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from frmdn.envs.errors import MissingExtra
from frmdn.rollouts.sources.audio import Clips, audio_folder, read_audio, resample

sound = pytest.importorskip("soundfile")


def tone(seconds: float = 0.5, rate: int = 16_000, hertz: float = 440.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    wave = 8000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.asarray(np.rint(wave + rng.normal(0, 20, len(wave))), np.int16)


def sphere(samples: np.ndarray, order: str = "01") -> bytes:
    """A NIST SPHERE file, written by hand: a header of 1024 bytes, then PCM of low ("01") or high ("10") byte first."""
    head = (
        "NIST_1A\n   1024\n"
        f"database_id -s5 TIMIT\nsample_count -i {len(samples)}\nsample_rate -i 16000\nchannel_count -i 1\n"
        f"sample_n_bytes -i 2\nsample_byte_format -s2 {order}\nsample_sig_bits -i 16\nsample_coding -s3 pcm\nend_head\n"
    )
    return head.encode().ljust(1024) + samples.astype("<i2" if order == "01" else ">i2").tobytes()


def wav(path: Path, samples: np.ndarray, **kind: object) -> None:
    sound.write(path, samples, 16_000, format="WAV", **kind)


def flac(path: Path, samples: np.ndarray) -> None:
    sound.write(path, samples, 16_000, format="FLAC")


def sph(path: Path, samples: np.ndarray) -> None:
    path.write_bytes(sphere(samples))


def mp3(path: Path, samples: np.ndarray) -> None:
    sound.write(path, samples, 16_000, format="MP3")


WRITERS = {"a.wav": wav, "a.flac": flac, "a.sph": sph, "TIMIT.WAV": sph}  # TIMIT's SPHERE files are named .WAV


@pytest.mark.parametrize("name", WRITERS)
def test_lossless_files_come_back_sample_by_sample(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, tone())
    found = read_audio(tmp_path / name)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, tone())


def test_sphere_of_either_byte_order(tmp_path: Path) -> None:
    (tmp_path / "big.sph").write_bytes(sphere(tone(), "10"))
    np.testing.assert_array_equal(read_audio(tmp_path / "big.sph"), tone())


def test_mp3_comes_back_as_nearly_the_same_sound(tmp_path: Path) -> None:
    mp3(tmp_path / "a.mp3", tone())
    found, wanted = read_audio(tmp_path / "a.mp3").astype(float), tone().astype(float)
    assert abs(len(found) - len(wanted)) < 2500
    size = min(len(found), len(wanted))
    powers = [np.abs(np.fft.rfft(x[:size] * np.hanning(size))) for x in (found, wanted)]
    assert np.argmax(powers[0]) == np.argmax(powers[1])
    assert powers[0].max() == pytest.approx(powers[1].max(), rel=0.1)


def test_stereo_24_bit_and_other_rates_become_16_kHz_mono(tmp_path: Path) -> None:
    left = tone(0.5, 44_100).astype(float) / 32768
    sound.write(tmp_path / "b.wav", np.stack([left, 0.5 * left], 1), 44_100, subtype="PCM_24")
    found = read_audio(tmp_path / "b.wav")
    clean = 0.75 * 8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000)
    assert len(found) == 8000 and found.dtype == np.int16
    assert np.abs(found - clean).max() < 120  # the noise of `tone`, and nothing shifted


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
def test_resampling_keeps_a_slow_sine_in_phase(rate: int) -> None:
    seconds = 0.3
    old = np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)
    new = resample(old, rate, 16_000)
    wanted = np.sin(2 * np.pi * 300 * np.arange(len(new)) / 16_000)
    assert len(new) == round(len(old) * 16_000 / rate)
    assert np.abs(new - wanted)[200:-200].max() < 2e-3 and np.abs(new - wanted).max() < 0.1


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.sph", "a.mp3"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) * 2 // 3], lambda data: data[:21], lambda data: b""])
def test_a_damaged_file_is_named(name: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    {**WRITERS, "a.mp3": mp3}[name](path, tone(2.0))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=name):
        read_audio(path)


@pytest.mark.parametrize("rate", [0, 1, 8, 2**31 - 1])
def test_a_forged_rate_is_refused(rate: int, tmp_path: Path) -> None:
    """Three kilobytes at one sample a second would be resampled to gigabytes."""
    path = tmp_path / "a.wav"
    wav(path, tone(0.1))
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.wav (claims|cannot be read)"):
        read_audio(path)


def test_a_forged_length_reserves_nothing(tmp_path: Path) -> None:
    """A FLAC of a few kilobytes may promise 2^36 samples: 137 GB, were they reserved."""
    path = tmp_path / "a.flac"
    flac(path, tone(0.2))
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the 36 bits of the number of samples, in STREAMINFO
    data[22:26] = b"\xff" * 4
    path.write_bytes(data)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, limit[1]))
    try:
        with pytest.raises(ValueError, match=r"a\.flac (is cut short: \d+ of 68719476735|cannot be read)"):
            read_audio(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


def test_a_file_of_too_many_samples_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frmdn.rollouts.sources.audio.MOST", 1000)
    wav(tmp_path / "a.wav", tone(0.1))
    with pytest.raises(ValueError, match=r"a\.wav has more than 1000 samples: cut it"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "head",
    [
        b"NIST_1A",
        b"NIST_1A\n",
        b"NIST_1A\n   1024\n",
        b"NIST_1A\n1024\nsample_count -i 5\nchannel_count -i x\nend_head\n",
    ],
)
def test_a_damaged_sphere_header_is_named(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.sph").write_bytes(head)
    with pytest.raises(ValueError, match=r"a\.sph has a damaged SPHERE header"):
        read_audio(tmp_path / "a.sph")


def test_foreign_bytes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(os.urandom(3000))
    with pytest.raises(ValueError, match=r"x\.wav"):
        read_audio(path)


def test_a_compressed_sphere_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.sph"
    path.write_bytes(sphere(tone()).replace(b"-s3 pcm\n", b"-s26 pcm,embedded-shorten-v2.00\n"))
    with pytest.raises(ValueError, match="sph2pipe"):
        read_audio(path)


def test_a_folder_is_read_at_any_depth_in_order(tmp_path: Path) -> None:
    for name in ("b/two.wav", "a/one.flac", "c.sph", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        {".wav": wav, ".flac": flac, ".sph": sph}.get(Path(name).suffix, lambda p, s: p.write_text("x"))(
            tmp_path / name, tone()
        )
    clips = audio_folder(tmp_path)
    assert clips.names == ["a/one.flac", "b/two.wav", "c.sph"]
    np.testing.assert_array_equal(clips[1], tone())


def test_folders_without_audio_are_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=str(folder)):
            audio_folder(folder)


def test_clips_keep_what_fits_and_read_the_rest_again() -> None:
    reads: list[int] = []

    def read(place: int) -> np.ndarray:
        reads.append(place)
        return np.zeros(100, np.int16)

    clips = Clips(["a", "b", "c"], read, memory=400)
    for place in (0, 1, 2, 0, 1, 2):
        assert len(clips[place]) == 100
    assert reads == [0, 1, 2, 2]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav(tmp_path / "a.wav", tone())
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtra, match=r"pip install 'frmdn\[speech\]'"):
        audio_folder(tmp_path)
