"""A QuickBooks Online simulator: the accounting API and its OAuth over a made-up company.

    async with Simulator(SimulatorConfig(invoices=10_000)) as sim:
        ...                                   # sim.url, sim.realm_id, sim.service

    with run_in_thread(config) as sim: ...    # where there is no event loop
    with run_as_process("--invoices", "10000") as process: ...

`python -m qbo_simulator --help` serves it from the command line.
"""

from qbo_simulator.behaviour import BehaviourError
from qbo_simulator.config import SimulatorConfig
from qbo_simulator.control import Control
from qbo_simulator.simulator import Simulator, SimulatorProcess, StartError, run_as_process, run_in_thread

__all__ = [
    "BehaviourError",
    "Control",
    "Simulator",
    "SimulatorConfig",
    "SimulatorProcess",
    "StartError",
    "run_as_process",
    "run_in_thread",
]
