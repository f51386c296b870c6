"""`frmdn density`: compare, fit and sample density models on sequences of any kind."""
