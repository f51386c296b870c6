"""Sequences for the density models: toy data, speech, images and a run's latents, with held-out splits."""

from .segments import SegmentBatches, whole_batches
from .sequences import Held, Source, Split, Steps, shifted, split_names

__all__ = ["Held", "SegmentBatches", "Source", "Split", "Steps", "shifted", "split_names", "whole_batches"]
