"""What a person calls from Python: an opened run, a player, and collecting, evolving and evaluating with few words."""
