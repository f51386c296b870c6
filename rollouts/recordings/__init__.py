"""Recordings that others made: read one at a time, checked, and made into episodes; and episodes for others."""
