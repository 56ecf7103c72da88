"""Part of plantprint."""
