"""Measurements, printed as ratios. `python -m tools.bench` runs them all."""
