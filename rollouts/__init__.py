"""Where sequences come from: episodes, their stores, policies, workers and batches."""

from .episodes.episode import Episode, EpisodeSummary, StoreError, decode_episode, encode_episode
from .episodes.store import EpisodeStore

__all__ = ["Episode", "EpisodeStore", "EpisodeSummary", "StoreError", "decode_episode", "encode_episode"]
