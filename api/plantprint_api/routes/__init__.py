"""The routes by resource; each module has a `router`."""
