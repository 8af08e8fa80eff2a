"""What the simulator's own tests share: no deadline for hypothesis on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("simulator", deadline=None, print_blob=True)
settings.load_profile("simulator")
