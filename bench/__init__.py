"""Measurements, printed as ratios. `python -m bench` runs them all."""
