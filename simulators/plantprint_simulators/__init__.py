"""Seeded plants with a known true inventory, their devices and MES, recorded plants, and load."""
