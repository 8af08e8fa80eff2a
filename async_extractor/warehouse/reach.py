"""What this process knows of whether it can reach a server."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

# Tries to reach a server that are further apart than this are not one outage.
OUTAGE_GAP_SECONDS = 60.0


@dataclass
class Reach:
    """Moments of time.monotonic(), None where there was none: when the server has last answered, and when it was first
    reached after tries that had failed."""

    answered: float | None = None
    returned: float | None = None
    _failing: tuple[float, float] | None = None

    @property
    def away_since(self) -> float | None:
        """Since when no try has reached the server; None where the last one did, or is too long ago to say anything."""
        if self._failing is None or time.monotonic() - self._failing[1] >= OUTAGE_GAP_SECONDS:
            return None
        return self._failing[0]

    def failed(self) -> None:
        """A try has not reached the server."""
        now, since = time.monotonic(), self.away_since
        self._failing = (now if since is None else since, now)

    def reached(self) -> None:
        """A try has reached it."""
        self.answered = time.monotonic()
        if self._failing is not None:
            self.returned, self._failing = self.answered, None


_known: defaultdict[Hashable, Reach] = defaultdict(Reach)


def reach(address: Hashable) -> Reach:
    """Of the server at an address, as a database and a role."""
    return _known[address]
