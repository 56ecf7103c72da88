"""The plant model: places, sources, pools, flows and meters as declared in `plant.yaml`."""

from plantprint.plant.model import Plant

__all__ = ["Plant"]
