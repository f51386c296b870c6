"""Knowing what goes on: in a run of this process, and in one of another process, which may have died."""
