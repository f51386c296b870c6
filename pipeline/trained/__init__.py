"""A trained agent, in a run folder or in one file: the file, its doors, and the way to a hub and back."""
