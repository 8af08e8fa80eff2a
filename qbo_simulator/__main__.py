"""`python -m qbo_simulator`."""

import sys

from qbo_simulator.cli import main

if __name__ == "__main__":
    sys.exit(main())
