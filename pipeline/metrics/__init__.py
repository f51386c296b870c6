"""The lines of all stages: a stage says a line, and its history, metrics.jsonl, TensorBoard and trackers take it."""
