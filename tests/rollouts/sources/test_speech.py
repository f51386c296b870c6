"""Speech: frames, protocols, normalisation, dequantisation, and files held out whole."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from frmdn.rollouts.sources import SegmentBatches, Source, whole_batches
from frmdn.rollouts.sources.audio import Clips
from frmdn.rollouts.sources.speech import FRAME, SEGMENT, speech
from frmdn.rollouts.sources.synthesis import SPEAKERS, speaker, synthesise, synthetic_speech


def clips(sizes: list[int] | None = None) -> Clips:
    """Clip i holds noise of mean 10 i, so that clips are told apart."""
    sizes = sizes or [9000, 17_000, 8000, 24_500, 30_000, 8100]
    return Clips(
        [f"clip-{i}.wav" for i in range(len(sizes))],
        lambda i: np.random.default_rng(i).normal(10 * i, 500, sizes[i]).astype(np.int16),
    )


def undone(source: Source, split: str) -> list[np.ndarray]:
    """The split's sequences as 16-bit samples again."""
    found = []
    for batch in whole_batches(source, split, 0):
        native = source.scale.native(batch.target)
        found += [row[: FRAME * int(n)] for row, n in zip(native, batch.mask.sum(1), strict=True)]
    return found


def test_forty_frame_segments_are_the_samples_of_their_files() -> None:
    source = speech(clips=clips())
    assert source.inputs == source.outputs == FRAME
    whole = clips()
    segments = [
        whole[i][start : start + SEGMENT * FRAME]
        for i in range(len(whole))
        for start in range(0, len(whole[i]) - SEGMENT * FRAME + 1, SEGMENT * FRAME)
    ]
    found = [row for split in source.splits for row in undone(source, split)]
    assert len(found) == len(segments) == 1 + 2 + 1 + 3 + 3 + 1
    for segment in segments:  # rounding undoes the dequantisation, but for the last bit of float32
        errors = [int(np.abs(row.astype(int) - segment).max()) for row in found]
        assert sorted(errors)[0] <= 1 < sorted(errors)[1]


def test_whole_utterances_keep_every_full_frame() -> None:
    source = speech(clips=clips(), protocol="whole-utterance")
    lengths = sorted(len(row) for split in source.splits for row in undone(source, split))
    assert lengths == sorted(n // FRAME * FRAME for n in (9000, 17_000, 8000, 24_500, 30_000, 8100))


def test_training_is_normalised_and_dequantised_anew() -> None:
    source = speech(clips=clips())
    batches = SegmentBatches(source, 0)
    target = torch.cat([batches(i).target for i in range(batches.steps)])
    assert abs(float(target.mean())) < 0.02 and float(target.std()) == pytest.approx(1, abs=0.02)
    split = source.splits["train"]
    raw = split.rows(0, 0, SEGMENT)[None]
    noise = [torch.Generator().manual_seed(i) for i in (1, 2)]
    one, two = (source.prepare(raw, torch.ones(1, SEGMENT, dtype=torch.bool), g) for g in noise)
    step = 1 / source.scale.std
    assert 0 < float((one.target - two.target).abs().max()) <= step * 1.001
    exact = (raw - source.scale.mean) / source.scale.std
    assert float((one.target - exact).abs().max()) <= step * 0.501
    assert torch.equal(one.context[:, 1:], one.target[:, :-1])


def test_corpus_folders_keep_their_roles() -> None:
    names = [f"TRAIN/s{i}.wav" for i in range(20)] + [f"TEST/s{i}.wav" for i in range(4)]
    ripple = np.arange(8000, dtype=np.int16) % 7
    source = speech(clips=Clips(names, lambda i: ripple + np.int16(1000 + 20 * i)))
    assert [len(source.splits[name].lengths) for name in ("train", "validation", "test")] == [18, 2, 4]
    assert min(int(row[0]) for row in undone(source, "test")) >= 1399


def test_the_figures_in_other_units() -> None:
    source = speech(clips=clips())
    figures = source.figures(-1.2)
    assert figures["log_likelihood_per_sequence"] == pytest.approx(1.2 * 8000)
    assert figures["bits_per_sample"] == pytest.approx((-1.2 + math.log(source.scale.std)) / math.log(2))


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="protocol"):
        speech(clips=clips(), protocol="frames")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="silent"):
        speech(clips=Clips(list("abcd"), lambda i: np.zeros(9000, np.int16)))
    with pytest.raises(ValueError, match="split has no clip"):
        speech(clips=clips([9000, 100, 100, 100]))
    with pytest.raises(ValueError, match=str(tmp_path)):
        speech(tmp_path)


def test_the_synthesiser_is_deterministic_and_its_clips_differ() -> None:
    one = synthesise(5, 0.5)
    np.testing.assert_array_equal(one, synthesise(5, 0.5))
    np.testing.assert_array_equal(one, synthetic_speech(8, 0.5)[5])
    assert one.dtype == np.int16 and len(one) == 8000 and not np.array_equal(one, synthesise(5 + SPEAKERS, 0.5))
    assert one.astype(float).std() > 200 and abs(int(one.max())) < 32767


def test_voices_have_their_own_pitch_and_vowels_their_formants() -> None:
    pitches = [speaker(i).pitch for i in range(SPEAKERS)]
    assert len(set(pitches)) == SPEAKERS and min(pitches) < 140 < max(pitches)
    spectrum = np.mean(
        [np.abs(np.fft.rfft(synthesise(i, 1.0).astype(float))) ** 2 for i in range(4)], axis=0
    )  # 1 Hz a bin
    low, high = spectrum[80:1200].mean(), spectrum[5000:7900].mean()
    assert low > 30 * high  # voiced sounds rule, and they lie below


def test_the_built_in_corpus_holds_out_whole_clips() -> None:
    source = speech(clips=synthetic_speech(12, 1.0))
    assert source.about["clips"] == 12 and source.floor is None
    assert [len(split.lengths) for split in source.splits.values()] == [20, 2, 2]
