"""What stops a simulator: one exception whose message says the place and the remedy."""


class SimulatorError(Exception):
    """The simulator cannot go on; the message tells the operator what to change."""
