"""Between the environments that people have and the one kind that the rest of the program knows."""
