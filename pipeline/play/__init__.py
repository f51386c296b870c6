"""`frmdn play`: a person plays the world, or its dream, with the keyboard."""
