"""`frmdn dream`: to see what an agent dreams, and to measure what its dreams are worth."""
