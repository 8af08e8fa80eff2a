"""Hold the simulator against recorded traffic: `python -m qbo_simulator.fidelity FOLDER`."""
