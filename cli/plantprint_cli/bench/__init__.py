"""`plantprint bench`."""
