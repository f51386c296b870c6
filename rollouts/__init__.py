"""Where sequences come from: episodes, their stores, policies, workers and batches."""

from .episode import Episode, EpisodeSummary, StoreError, decode_episode, encode_episode
from .store import EpisodeStore

__all__ = ["Episode", "EpisodeStore", "EpisodeSummary", "StoreError", "decode_episode", "encode_episode"]
