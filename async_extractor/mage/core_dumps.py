"""No core dumps: the memory of a process that reads Mage Secrets would be written to disk with them."""

from __future__ import annotations

import resource


def forbid() -> None:
    """For this process and all that it starts, for good: the hard limit goes down, too."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
