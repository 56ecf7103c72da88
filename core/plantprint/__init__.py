"""The pure core of plantprint: from meter readings and production events to the footprint of a batch."""

__version__ = "0.1.0"
