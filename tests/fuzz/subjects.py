"""All that is fuzzed, by name."""

from __future__ import annotations

from .recordings import RECORDINGS
from .series import SERIES
from .stores import STORES
from .words import WORDS_TYPED

SUBJECTS = {subject.name: subject for subject in (*STORES, *SERIES, *RECORDINGS, *WORDS_TYPED)}
