"""Progress and metrics of runs."""
