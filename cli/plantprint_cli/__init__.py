"""The `plantprint` command, and the all-in-one run that composes the leaves."""
